"""Which kind a recording is said to be of."""

from pathlib import Path

import pytest

from natd.codebooks.kinds import KINDS, WIDER, WIDER_OF
from natd.training.labels import RULES, kind_of, wider_of
from natd.training.recordings import Clip


def clip(name: str, folder: str = "sounds", label: str = "") -> Clip:
    return Clip(Path(folder, f"{name}.ogg"), folder, "fit", "environment", label, 1 if label else 0)


@pytest.mark.parametrize("label", ["baby_cry", "clock_tick", "dog", "sea_waves", "rooster"])
def test_classes_of_esc10_are_kinds(label):
    kind = label.replace("_", " ")
    assert (kind_of(clip("1-1-A", "esc10", label)), wider_of(clip("1-1-A", "esc10", label))) == (kind, WIDER_OF[kind])


def test_a_class_that_is_no_kind_is_not_said():
    assert kind_of(clip("1-1-A", "esc10", "accordion")) == "" == wider_of(clip("1-1-A", "esc10", "accordion"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("farm_animal__poorenglishjuggler_rooster_269496", "rooster"),
        ("farm_animal__mikewest_sheep-baa_414342", "farm animal"),
        ("aircraft__Thomas-Ryder-Payne_helicopter_573170", "helicopter"),
        ("doorbell__kwahmah-02_doorbell-01_275072", "bell"),
        ("door__skyumori_door-open_104533", "door"),
        ("door_knock__LPHypeR_door-knock-01_500994", "knock"),
        ("gun__Deganoth_shotgun-fire-pump_348671", "gun"),
        ("laugh__ala-OpenClonk_Adventurer-laughter", "laughter"),
        ("rain__Mike-Koenig_1695-Train-Honk-Horn-2x", "horn"),
        ("water__squashy555_seagulls_353416", "birds"),
        ("fireworks__soundscalpel-com_BlastFirework_110391", "explosion"),
        ("voice_singing__ala-OpenClonk_Steampunk-singing", "singing"),
        ("speech_nl_m__r-dh-dutch-vl-tts_vl00203", "speech"),
    ],
)
def test_sounds(name, kind):
    assert kind_of(clip(name)) == kind and wider_of(clip(name)) == WIDER_OF[kind]


@pytest.mark.parametrize(
    ("name", "wider"),
    [
        ("gun__dobroide_peacock-01_59186", "animal"),
        ("gun__J-Anthracite_pistol-cock-01_465488", ""),
        ("birds__d-n-audio-uk_balloon-inflate_263809", ""),
        ("birds__killyourpepe_wolf-howl_395192", "animal"),
        ("insects__opalmirage_crickets-and-owl-1_666760", "animal"),
        ("machine__cambra_FanLoop_102710", "machine"),
        ("voice_nonverbal__Anko6_vomit-01_388525", "people"),
        ("foley__pawsound_whistle_154873", ""),
        ("ambience__JarbasAI_bg-noise", ""),
        ("train__Karst-van-Galen-Last-Aur_train-whistle-1-cp-railroad", ""),
        ("nothing known of it", ""),
    ],
)
def test_sounds_of_no_single_kind(name, wider):
    assert (kind_of(clip(name)), wider_of(clip(name))) == ("", wider)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("solo_piano__eliogu_chopin_op55_no_1", "piano"),
        ("acoustic_guitar__x", "plucked strings"),
        ("acoustic_rock__x", "band"),
        ("cello_phrase__x", "bowed strings"),
        ("orchestral_waltz__x", "ensemble"),
        ("electronic_cinematic__x", "electronic music"),
        ("synth_pop__x", "electronic music"),
        ("music_box__holiznacc0_dangerous_voyage", "mallets"),
        ("percussion_mridangam__x", "drums"),
        ("voice_carnatic__x", "singing"),
        ("freepd__kevin_macleod_music_mp3", ""),
    ],
)
def test_music_is_music_whatever_its_kind(name, kind):
    assert kind_of(clip(name, "music")) == kind and wider_of(clip(name, "music")) == "music"


@pytest.mark.parametrize(
    ("folder", "name", "kind", "wider"),
    [
        ("recordings", "robin", "birds", "animal"),
        ("recordings", "humpback", "", "animal"),
        ("recordings", "speech_198", "speech", "people"),
        ("recordings", "solo_trumpet_F_90bpm", "brass", "music"),
        ("recordings", "karissa_hobbs_song", "", "music"),
        ("sonic-pi", "loop_tabla", "drums", "music"),
        ("sonic-pi", "elec_hi_snare", "drums", "music"),
        ("sonic-pi", "elec_beep", "", ""),
        ("sonic-pi", "guit_em9", "plucked strings", "music"),
        ("sonic-pi", "misc_crow", "birds", "animal"),
        ("sonic-pi", "ambi_drone", "", "music"),
        ("drums", "cp__10_cp_switchangel", "drums", "music"),
        ("drums", "misc__10_misc_switchangel_ludens", "", "music"),
        ("elsewhere", "x", "", ""),
    ],
)
def test_other_folders(folder, name, kind, wider):
    assert (kind_of(clip(name, folder)), wider_of(clip(name, folder))) == (kind, wider)


def test_rules_say_only_what_there_is():
    for name, kind, wider in (rule for rules in RULES.values() for rule in rules):
        assert kind in ("", *KINDS) and wider in ("", *WIDER), name
        assert not (kind and wider), name  # the wider kind of a kind is not for a rule to say
