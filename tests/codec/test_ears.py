"""The laws of `ears`: alone equals in company, chunked equals whole, one silence, golden codes, refused weights."""

import dataclasses
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from natd.audio.chunks import Block, End, Format, FrameAssembler, FrameChunk
from natd.codebooks import naming
from natd.codec import ears, open_tokenizer
from natd.codec.ears import Ears
from natd.codec.state import gather, scatter
from natd.codec.vocoder import Vocoder
from natd.errors import ModelError
from natd.offline.voices import MelRun
from tests.codec.sounds import FRAME, SR, frames_of, recordings, score, streams

GOLDEN = Path(__file__).parent.parent / "golden" / "ears.json"
RECORDINGS = recordings()
LAYERS = ("S0", "S1", "S2", "S3", "A0", "A1", "A2", "A3")


@pytest.fixture(scope="module")
def tokenizer() -> Ears:
    return ears.open_tokenizer()


def codes_of(tokenizer: Ears, audio: np.ndarray, rows: list[int], batch: int) -> np.ndarray:
    """Codes of streams [n, T, 1920], `batch` rows at a time in the order of `rows`: [n, T, 8], each at its stream."""
    out = np.full((len(rows), audio.shape[1], len(LAYERS)), -1)
    for at in range(0, len(rows), batch):
        part = rows[at : at + batch]
        state = tokenizer.initial_state(len(part))
        for frame in range(audio.shape[1]):
            codes = tokenizer.encode(torch.from_numpy(audio[part, frame]), state)
            out[part, frame] = torch.cat(codes, dim=1).numpy()
    return out


def shuffled(count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).permutation(count).tolist()


@pytest.fixture(scope="module")
def company() -> np.ndarray:
    """32 streams of 40 frames: 1280 frames, 10 240 codes."""
    return streams(32, 40)


@pytest.fixture(scope="module")
def alone(tokenizer: Ears, company: np.ndarray) -> np.ndarray:
    torch.set_num_threads(1)
    return codes_of(tokenizer, company, list(range(32)), 1)


@pytest.mark.parametrize(("batch", "cores"), [(1, 2), (2, 1), (7, 1), (7, 2), (32, 1), (32, 5)])
def test_alone_equals_in_company(tokenizer: Ears, company, alone, batch: int, cores: int) -> None:
    torch.set_num_threads(cores)
    np.testing.assert_array_equal(codes_of(tokenizer, company, shuffled(32, batch), batch), alone)


def test_what_is_heard_alone_is_bit_for_bit_what_is_heard_in_company(tokenizer: Ears, company) -> None:
    """Stronger than equal codes: every descriptor, vector and state tensor is equal, so no tie can turn."""
    together = tokenizer.initial_state(32)
    single = [tokenizer.initial_state(1) for _ in range(5)]
    for frame in range(20):
        heard = tokenizer.hear(torch.from_numpy(company[:, frame]), together)
        for row, state in zip((0, 3, 16, 30, 31), single, strict=True):
            one = tokenizer.hear(torch.from_numpy(company[row : row + 1, frame]), state)
            for a, b in zip(tensors(one), tensors(heard), strict=True):
                assert torch.equal(a[0], b[row])
            for a, b in zip(tensors(state), tensors(together), strict=True):
                assert torch.equal(a[0], b[row])


def tensors(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else [getattr(value, f.name) for f in dataclasses.fields(value)]
    return [t for part in parts for t in tensors(part)]


if RECORDINGS:  # collected only where NATD_SHARED says where they are

    @pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: f"{p.parent.name}-{p.stem}"[:40])
    def test_real_recordings_alone_equal_in_company(tokenizer: Ears, path: Path) -> None:
        whole = frames_of(path, 96)
        count = 7
        length = len(whole) // 4
        audio = np.stack([whole[(row * 11) % (len(whole) - length) :][:length] for row in range(count)])
        audio[4] = audio[1]
        torch.set_num_threads(1)
        expected = codes_of(tokenizer, audio, list(range(count)), 1)
        torch.set_num_threads(2)
        np.testing.assert_array_equal(codes_of(tokenizer, audio, shuffled(count, 1), count), expected)
        np.testing.assert_array_equal(expected[4], expected[1])
        assert len(np.unique(expected[..., 4])) > 1


def assembled(samples: np.ndarray, block: int) -> np.ndarray:
    """The frames that an assembler makes of 24 kHz samples in blocks: [T, 1920]."""
    assembler = FrameAssembler(Format(SR, 1), SR, FRAME)
    events = [Block(at, samples[at : at + block, None], 0) for at in range(0, len(samples), block)]
    chunks = [c for event in [*events, End("eof")] for c in assembler.feed(event)]
    return np.stack([c.samples for c in chunks if isinstance(c, FrameChunk)])


@pytest.mark.parametrize("block_ms", [1, 7, 10, 80, 333, 1000])
def test_chunked_equals_whole(tokenizer: Ears, golden, block_ms: int) -> None:
    frames = assembled(score().reshape(-1), block_ms * SR // 1000)
    np.testing.assert_array_equal(codes_of(tokenizer, frames[None], [0], 1)[0], golden)


@pytest.fixture(scope="module")
def golden() -> np.ndarray:
    return np.array(json.loads(GOLDEN.read_text())["codes"])


def test_golden_codes(tokenizer: Ears, golden) -> None:
    """A change of any code is a change of the tokenizer: fit again and write the golden codes on purpose."""
    assert json.loads(GOLDEN.read_text())["codebook_id"] == tokenizer.spec.info.codebook_id
    np.testing.assert_array_equal(codes_of(tokenizer, score()[None], [0], 1)[0], golden)
    assert all(len(np.unique(golden[:, i])) > 6 for i in range(8))


def test_the_future_does_not_change_the_past(tokenizer: Ears, golden) -> None:
    changed = score()
    changed[50:] = changed[50:][::-1] * 0.5
    codes = codes_of(tokenizer, changed[None], [0], 1)[0]
    np.testing.assert_array_equal(codes[:50], golden[:50])
    assert (codes[50:] != golden[50:]).any(axis=0).all()


@pytest.mark.parametrize("kind", ["zeros", "minus_78_dbfs", "offset"])
def test_silence_is_code_0_in_every_layer_from_the_first_frame(tokenizer: Ears, kind: str) -> None:
    quiet = np.random.default_rng(3).standard_normal((1, 150, FRAME)).astype(np.float32) * 10 ** (-78 / 20)
    audio = {"zeros": quiet * 0.0, "minus_78_dbfs": quiet, "offset": quiet * 0.0 + 0.25}[kind].astype(np.float32)
    assert (codes_of(tokenizer, audio, [0], 1) == 0).all()


def test_silence_after_sound_is_code_0_at_once_and_sound_never_is(tokenizer: Ears) -> None:
    audio = score()[20:60].copy()
    audio[20:30] = 0.0
    codes = codes_of(tokenizer, audio[None], [0], 1)[0]
    assert (codes[20:30] == 0).all()
    loud = np.sqrt((audio**2).mean(axis=1)) > 10 ** (-74 / 20)
    assert (codes[loud] > 0).all() and loud.sum() >= 20


def test_samples_far_above_full_scale_still_give_codes(tokenizer: Ears) -> None:
    audio = np.random.default_rng(1).standard_normal((1, 4, FRAME)).astype(np.float32) * 1e30
    codes = codes_of(tokenizer, audio, [0], 1)
    assert (codes > 0).all() and (codes < 1024).all()


def test_state_rows_move_between_batches(tokenizer: Ears, company, alone) -> None:
    """Two streams leave a batch of four in the middle, go on alone, and come back: nothing is heard of it."""
    audio = torch.from_numpy(company)
    state = tokenizer.initial_state(4)
    out = [torch.cat(tokenizer.encode(audio[:4, f], state), 1) for f in range(10)]
    rows = torch.tensor([2, 0])
    pair = gather(state, rows)
    apart = [torch.cat(tokenizer.encode(audio[rows, f], pair), 1) for f in range(10, 20)]
    scatter(state, rows, pair)
    rest = gather(state, torch.tensor([1, 3]))
    for f in range(10, 20):
        tokenizer.encode(audio[[1, 3], f], rest)
    scatter(state, torch.tensor([1, 3]), rest)
    back = [torch.cat(tokenizer.encode(audio[:4, f], state), 1) for f in range(20, 30)]
    np.testing.assert_array_equal(torch.stack(out, 1).numpy(), alone[:4, :10])
    np.testing.assert_array_equal(torch.stack(apart, 1).numpy(), alone[[2, 0], 10:20])
    np.testing.assert_array_equal(torch.stack(back, 1).numpy(), alone[:4, 20:30])


def test_spec_and_glossary_say_what_is_there(tokenizer: Ears) -> None:
    spec = tokenizer.spec
    assert (spec.sr, spec.frame_samples, spec.info.name) == (SR, FRAME, "ears")
    assert (spec.info.causal, spec.info.lookahead_ms, spec.info.batch_invariant) == (True, 0.0, True)
    assert [(layer.name, layer.vocab) for layer in spec.layers] == list(ears.SETTINGS["sizes"].items())
    assert [layer.name for layer in spec.layers] == list(LAYERS)
    for layer in LAYERS[:4]:
        words = tokenizer.glossary[layer]
        assert sorted(words) == list(range(ears.SETTINGS["sizes"][layer]))
        assert words[0] == "silence" and all(0 < len(text) <= 120 for text in words.values())
        assert sum(text == "silence" for text in words.values()) == 1
    assert open_tokenizer("ears").spec.info.codebook_id == spec.info.codebook_id


def test_the_phrase_of_a_sound_is_about_that_sound(tokenizer: Ears) -> None:
    t = np.arange(SR * 8) / SR
    kick = 0.5 * np.sin(2 * np.pi * 60 * t) * np.exp(-((t * 2.0) % 1.0) * 12.0)  # twice a second: 120 a minute
    hat = 0.1 * np.random.default_rng(4).standard_normal(len(t)) * np.exp(-((t * 4.0) % 1.0) * 30.0)
    snare = 0.2 * np.random.default_rng(5).standard_normal(len(t)) * np.exp(-((t + 0.5) % 1.0) * 20.0)
    hiss = 0.1 * np.random.default_rng(2).standard_normal(len(t))
    note = sum(0.2 / k * np.sin(2 * np.pi * 220 * k * t) for k in range(1, 5))
    audio = np.stack([kick + hat + snare, hiss, note])[:, : 100 * FRAME].astype(np.float32).reshape(3, 100, FRAME)
    last = codes_of(tokenizer, audio, [0, 1, 2], 3)[:, 80:]
    rhythm = {tokenizer.glossary["S2"][c].split(",")[0] for c in last[0, :, 2]}
    assert rhythm - {"silence"} == {"tempo 120 bpm"}, rhythm
    harmony = {tokenizer.glossary["S1"][c] for c in last[2, :, 1]}
    assert harmony == {"note A3"}, harmony
    assert not any(text.startswith(("note", "chord")) for text in {tokenizer.glossary["S1"][c] for c in last[1, :, 1]})
    assert all(tokenizer.called["S0"][c] in ("noise", "hiss", "nature", "unknown") for c in last[1, :, 0])
    levels = [int(re.search(r"(-\d+) dBFS", tokenizer.glossary["S3"][c])[1]) for c in last[1, :, 3]]  # type: ignore[index]
    assert all(abs(level + 20) <= 4 for level in levels), levels


def test_the_first_frames_say_that_too_little_was_heard(tokenizer: Ears) -> None:
    codes = codes_of(tokenizer, streams(4, 20)[1:2], [0], 1)[0]
    assert (codes[:7, 0] == 1).all() and (codes[8:, 0] != 1).all()
    assert {tokenizer.glossary[layer][1] for layer in ("S0", "S1")} == {"not heard long enough"}


def test_every_call_has_its_kinds_and_confidence(tokenizer: Ears) -> None:
    sizes = ears.SETTINGS["sizes"]
    assert sorted(tokenizer.kinds["S0"]) == sorted(tokenizer.called["S0"]) == list(range(sizes["S0"]))
    assert tokenizer.called["S0"][0] == tokenizer.called["S0"][1] == ""
    for code, shares in tokenizer.kinds["S0"].items():
        assert sum(shares.values()) <= 1.01, code
    assert {"speech", "rain", "music", "animal", "unknown"} <= set(tokenizer.called["S0"].values())


def test_the_header_names_every_semantic_code_in_4_kb(tokenizer: Ears) -> None:
    body = naming.legend(tokenizer.names, tokenizer.spec.layers)
    assert naming.names_bytes(body) <= naming.MAX_BYTES
    for layer in ears.SEMANTIC:
        named = naming.expand(tokenizer.names[layer], ears.SETTINGS["sizes"][layer])
        assert sorted(named) == list(range(ears.SETTINGS["sizes"][layer])) and named[0] == "silence"


def test_sound_is_made_of_codes_again(tokenizer: Ears) -> None:
    """A tone decoded from its acoustic codes has its pitch and, within 6 dB, its level; silence decodes to nothing."""
    audio = 0.2 * np.sin(2 * np.pi * 440 * np.arange(30 * FRAME) / SR)
    state, run = tokenizer.initial_state(1), MelRun(tokenizer, Vocoder())
    frames = torch.from_numpy(audio.astype(np.float32)).view(30, 1, FRAME)
    parts = [run.play(tokenizer.encode(frame, state)[4:]) for frame in frames]
    whole = np.concatenate([*parts, run.close()])
    assert len(whole) == len(audio)
    out = torch.from_numpy(whole[10 * FRAME :])
    spectrum = torch.fft.rfft(out * torch.hann_window(len(out))).abs()
    assert abs(float(spectrum.argmax()) * SR / len(out) - 440) < 25
    assert abs(20 * np.log10(float(out.square().mean().sqrt()) / 0.1414)) < 6
    quiet = MelRun(tokenizer, Vocoder())
    assert all((quiet.play([torch.zeros(1, 1, dtype=torch.int64)] * 4) == 0).all() for _ in range(3))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("ears.safetensors", "ears.glossary.json", "ears.json"):
        (tmp_path / name).write_bytes((ears.MODELS / name).read_bytes())
    return tmp_path


def test_truncated_weights_are_refused(copy: Path) -> None:
    weights = copy / "ears.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="truncated"):
        ears.open_tokenizer(folder=copy)


@pytest.mark.parametrize("name", ["ears.safetensors", "ears.glossary.json"])
def test_one_changed_byte_is_refused(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ModelError, match="sha256"):
        ears.open_tokenizer(folder=copy)


def test_a_pickle_under_the_name_is_refused_even_with_its_own_hash(copy: Path) -> None:
    from natd.codebooks import store

    weights = copy / "ears.safetensors"
    weights.write_bytes(pickle.dumps({"A.mean": [0.0] * 1024}))
    manifest = json.loads((copy / "ears.json").read_text())
    manifest["files"][weights.name] = {"bytes": weights.stat().st_size, "sha256": store.file_sha256(weights)}
    (copy / "ears.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="cannot be read"):
        ears.open_tokenizer(folder=copy)


def test_a_missing_file_and_another_front_end_are_refused(copy: Path) -> None:
    manifest = json.loads((copy / "ears.json").read_text())
    manifest["settings"]["front_end"] += 1
    (copy / "ears.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="other encoder settings"):
        ears.open_tokenizer(folder=copy)
    (copy / "ears.json").unlink()
    with pytest.raises(ModelError, match="No such file"):
        ears.open_tokenizer(folder=copy)
