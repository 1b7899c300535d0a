"""What a recording is said to be of: one kind of sound, or only a wider kind, by its folder and its name."""

from __future__ import annotations

from fnmatch import fnmatchcase

from natd.codebooks.kinds import KINDS, WIDER, WIDER_OF
from natd.training.recordings import Clip

# Folder -> names without their ending, kind ("": none alone can be said), wider kind where no kind gives it; the first
# that fits holds. Names that contradict their prefix, hold two kinds or stand beside every kind have no kind.
RULES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "sounds": (
        ("speech_*", "speech", ""),
        ("aircraft__*helicopter*", "helicopter", ""),
        ("aircraft__*", "aircraft", ""),
        ("alarm__*", "alarm", ""),
        ("animal__AntumDeluge_*", "", ""),  # imitated by a person
        ("animal__*Munch*", "", ""),
        ("animal__*Flutter*", "", ""),
        ("animal__*", "", "animal"),
        ("bell__*", "bell", ""),
        ("birds__*balloon*", "", ""),
        ("birds__*woodpecker-peck*", "", ""),  # the blows, not the voice
        ("birds__*wolf*", "", "animal"),
        ("birds__*turkey*", "", "animal"),  # kept on farms: ducks, geese and hens count as farm animals here
        ("birds__*", "birds", ""),
        ("breathing__*", "", "people"),
        ("cat__*", "cat", ""),
        ("clock__*", "clock tick", ""),
        ("creak__*", "creak", ""),
        ("crowd__*", "crowd", ""),
        ("dog__*", "dog", ""),
        ("door__*creak*", "", "object"),
        ("door__*", "door", ""),
        ("door_knock__*", "knock", ""),
        ("doorbell__*", "bell", ""),
        ("engine__*", "engine", ""),
        ("explosion__*", "explosion", ""),
        ("farm_animal__*rooster*", "rooster", ""),
        ("farm_animal__*", "farm animal", ""),
        ("fire__*flint*", "", ""),
        ("fire__*fuse*", "", ""),
        ("fire__*tnt*", "", ""),
        ("fire__*Spark*", "", ""),
        ("fire__*", "fire", ""),
        ("fireworks__*", "explosion", ""),
        ("foley__*tree-creak*", "creak", ""),
        ("footsteps__*gallop*", "", ""),
        ("footsteps__*", "footsteps", ""),
        ("glass__*", "glass", ""),
        ("gun__*peacock*", "", "animal"),
        ("gun__*fire*", "gun", ""),
        ("gun__*burst*", "gun", ""),
        ("horn__*", "horn", ""),
        ("impact__*glass*", "", "object"),
        ("impact__*", "impact", ""),
        ("insects__*owl*", "", "animal"),
        ("insects__*", "insects", ""),
        ("laugh__*", "laughter", ""),
        ("machine__*SteamEngine*", "engine", ""),
        ("machine__*Electrical*", "", ""),
        ("machine__*", "", "machine"),
        ("rain__*Train-Honk-Horn*", "horn", ""),
        ("rain__*", "rain", ""),
        ("scream__*", "scream", ""),
        ("thunder__*", "thunder", ""),
        ("tool__*Drilling*", "tool", ""),
        ("tool__*Sawmill*", "tool", ""),
        ("train__*cart*", "", "machine"),
        ("voice_nonverbal__*", "", "people"),
        ("voice_singing__*", "singing", ""),
        ("water__*lava*", "", ""),
        ("water__*sea-lion*", "", "animal"),
        ("water__*seagull*", "birds", ""),
        ("water__*", "water", ""),
        ("wind__*Charge*", "", ""),
        ("wind__*", "wind", ""),
    ),
    "music": (
        ("solo_piano__*", "piano", ""),
        ("piano_*", "piano", ""),
        ("acoustic_guitar__*", "plucked strings", ""),
        ("cello_*", "bowed strings", ""),
        ("sax_*", "woodwind", ""),
        ("music_box__*", "mallets", ""),
        ("percussion_*", "drums", ""),
        ("voice_*", "singing", ""),
        ("orchestra*", "ensemble", ""),
        ("chamber_*", "ensemble", ""),
        ("comic_woodwinds__*", "ensemble", ""),
        ("soundtrack__*", "ensemble", ""),
        ("cinematic__*", "ensemble", ""),
        ("electronic*", "electronic music", ""),
        ("synth_*", "electronic music", ""),
        ("game_*", "electronic music", ""),
        ("acoustic_rock__*", "band", ""),
        ("country_*", "band", ""),
        ("folk_*", "band", ""),
        ("funk__*", "band", ""),
        ("jazz_*", "band", ""),
        ("light_pop__*", "band", ""),
        ("lofi*", "band", ""),
        ("pop_*", "band", ""),
        ("rock_*", "band", ""),
        ("*", "", "music"),
    ),
    "recordings": (
        ("speech_*", "speech", ""),
        ("robin", "birds", ""),
        ("humpback", "", "animal"),
        ("solo_trumpet_*", "brass", ""),
        ("sugar_plum_fairy", "ensemble", ""),
        ("vibe_ace_jazz", "band", ""),
        ("*", "", "music"),  # strings in a group, a voice with its band: two kinds at once
    ),
    "sonic-pi": (
        ("ambi_choir", "singing", ""),
        ("ambi_piano", "piano", ""),
        ("ambi_*woosh", "", ""),
        ("arovane_beat_*", "drums", ""),
        ("bass_*", "electronic music", ""),
        ("bd_*", "drums", ""),
        ("drum_*", "drums", ""),
        ("elec_*cymbal", "drums", ""),
        ("elec_*kick", "drums", ""),
        ("elec_*snare", "drums", ""),
        ("elec_*tom", "drums", ""),
        ("elec_beep", "", ""),
        ("elec_bl*", "", ""),
        ("elec_flip", "", ""),
        ("elec_p*", "", ""),
        ("elec_tick", "", ""),
        ("elec_twip", "", ""),
        ("glitch_*", "electronic music", ""),
        ("guit_*", "plucked strings", ""),
        ("hat_*", "drums", ""),
        ("loop_3d_printer", "", "machine"),
        ("loop_amen*", "drums", ""),
        ("loop_breakbeat", "drums", ""),
        ("loop_perc*", "drums", ""),
        ("loop_tabla", "drums", ""),
        ("loop_safari", "", "music"),
        ("loop_*", "electronic music", ""),
        ("mehackit_*", "", ""),
        ("misc_burp", "", "people"),
        ("misc_crow", "birds", ""),
        ("misc_*", "", ""),
        ("perc_bell*", "bell", ""),
        ("perc_door", "door", ""),
        ("perc_impact*", "impact", ""),
        ("perc_*", "", ""),
        ("ride_*", "drums", ""),
        ("sn_*", "drums", ""),
        ("tabla_*", "drums", ""),
        ("vinyl_hiss", "hiss", ""),
        ("vinyl_*", "", ""),
        ("*", "", "music"),
    ),
    "drums": (
        ("misc__*", "", "music"),
        ("*", "drums", ""),
    ),
}


def kind_of(clip: Clip) -> str:
    """The kind of sound (one of `kinds.KINDS`) that a whole recording is of; "" if no single one can be said."""
    return _said(clip)[0]


def wider_of(clip: Clip) -> str:
    """The wider kind (one of `kinds.WIDER`) that a whole recording is of, also where no kind can be said; else ""."""
    kind, wider = _said(clip)
    return WIDER_OF[kind] if kind else wider


def _said(clip: Clip) -> tuple[str, str]:
    if clip.label:
        label = clip.label.replace("_", " ")
        return (label, "") if label in KINDS else ("", label if label in WIDER else "")
    for name, kind, wider in RULES.get(clip.folder, ()):
        if fnmatchcase(clip.path.stem, name):
            return kind, wider
    return "", ""
