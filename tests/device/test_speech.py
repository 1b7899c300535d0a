"""SoundStream with its real weights, live on a virtual card: what was said can be heard again from the codes alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample
from torchaudio.transforms import MelSpectrogram

from natd.codec import open_tokenizer
from natd.codec.soundstream import FRAME, SR
from natd.evaluation.bootstrap import Estimate, estimate, ratio
from tests.daemon import Daemon, full_codes

SHARED = Path(os.environ.get("NATD_SHARED", ""))
SPEECH = sorted((SHARED / "audio" / "recordings").glob("speech_*.ogg")) if "NATD_SHARED" in os.environ else []
CARD_RATE = 48_000
SECONDS = 22  # 1100 frames
FLOOR_DB = -80.0
SOUNDING_DB = -60.0  # the mean square of a frame, in dBFS

pytestmark = pytest.mark.soak


def played(card, tmp_path):
    """Events of the daemon while speech is played, and the file of what it captured."""
    samples = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in SPEECH])
    sound = resample(torch.from_numpy(samples), SR, CARD_RATE).numpy()[: SECONDS * CARD_RATE]
    soundfile.write(tmp_path / "speech.wav", np.stack([sound, sound], 1), CARD_RATE, "FLOAT")
    flags = ("--device", card.name, "--tap", f"{tmp_path}/tap")
    with Daemon(*flags, "--tokenizer", "soundstream", "--seconds", str(SECONDS), env=card.env) as natd:
        live = [natd.event() for _ in range(5)]
        card.play(tmp_path / "speech.wav")
        live += natd.events()
        assert natd.wait() == 0
    assert [e for e in live if e["event"] == "gap"] == []
    return live, f"{tmp_path}/tap.0.wav"


def spoken(tokenizer, rows):
    """The sound of frames of codes `[N, K]`."""
    state = tokenizer.initial_decoder_state(1)
    return torch.cat([tokenizer.decode(list(row[:, None, None]), state)[0] for row in rows])


def apart(said: torch.Tensor, heard: torch.Tensor) -> Estimate:
    """The mean difference of log-mel in dB (nothing below -80) of frames that sound, by seconds."""
    mel = MelSpectrogram(SR, n_fft=1024, hop_length=FRAME, n_mels=64, norm="slaney", center=False)
    frames = min(len(said), len(heard)) // FRAME * FRAME
    a, b = (10 * mel(x[:frames]).clamp(min=1e-10).log10().clamp(min=FLOOR_DB) for x in (said, heard))
    level = said[:frames].unfold(0, 1024, FRAME).square().mean(1)
    sounding = 10 * level.clamp(min=1e-10).log10() > SOUNDING_DB
    wrong = (a - b).abs().mean(0).double() * sounding
    second = torch.arange(len(wrong)) // (SR // FRAME)
    sums = torch.zeros(int(second[-1]) + 1, 2, dtype=torch.float64)
    sums[:, 0].index_add_(0, second, wrong)
    sums[:, 1].index_add_(0, second, sounding.double())
    return estimate(sums.numpy(), ratio, seed=0)


def nat(*arguments: object) -> bytes:
    """Standard output of a command that must end well."""
    command = [sys.executable, "-c", "from natd.cli.nat import main; raise SystemExit(main())", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


if SPEECH:  # defined only where weights and recordings are at hand

    def test_what_was_said_is_heard_again(card, tmp_path, monkeypatch):
        monkeypatch.setenv("NATD_MODELS", str(tmp_path / "models"))
        nat("models", "convert", "soundstream", "--from", SHARED / "models" / "soundstream")
        live, tap = played(card, tmp_path)
        offline = nat("tokenize", tap, "--tokenizer", "soundstream").splitlines()
        codes, again = full_codes(live), full_codes([json.loads(line) for line in offline])
        equal = sum(one == other for one, other in zip(codes, again, strict=False))
        lines = (json.dumps({key: value for key, value in event.items() if key != "received_ns"}) for event in live)
        (tmp_path / "live.ndjson").write_text("\n".join(lines))
        nat("decode", tmp_path / "live.ndjson", "-o", tmp_path / "heard.wav")
        said = resample(torch.from_numpy(soundfile.read(tap, dtype="float32")[0]).mean(1), CARD_RATE, SR)
        rows = torch.tensor([frame[1:] for frame in codes])
        mixed = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
        off = {
            "decoded": apart(said, torch.from_numpy(soundfile.read(tmp_path / "heard.wav", dtype="float32")[0])),
            "shuffled codes": apart(said, spoken(open_tokenizer("soundstream"), mixed)),
            "silence": apart(said, torch.zeros_like(said)),
        }
        print(f"\n{equal} of {len(codes)} live frames are the offline ones, {len(rows.unique(dim=0))} different")
        told = "; ".join(f"{name} {e.value:.1f} [{e.low:.1f}, {e.high:.1f}]" for name, e in off.items())
        print(f"log-mel off what was captured, dB: {told}")
        assert equal == len(codes) == SECONDS * SR // FRAME
        assert off["decoded"].high < off["shuffled codes"].low / 2
