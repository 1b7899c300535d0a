"""SoundStream: golden codes, chunked equals whole, alone equals in company, causality; parity with the real weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from natd.audio.chunks import Block, End, Format, FrameAssembler, FrameChunk
from natd.codec import open_tokenizer, soundstream
from natd.codec.soundstream import FRAME, SR, SoundStream
from natd.codec.state import gather, scatter
from natd.errors import ConfigError, ModelError
from tests.codec.soundstream_weights import by_torch, random_weights, sounds

GOLDEN = Path(__file__).parent.parent / "golden" / "soundstream.json"
SHARED = Path(os.environ.get("NATD_SHARED", "")) / "models" / "soundstream"
VECTORS = sorted((SHARED / "vectors").glob("sample*.npz")) if "NATD_SHARED" in os.environ else []
KINDS = ("9.2", "9.2:float")


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return random_weights()


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest, tensors) -> SoundStream:
    return SoundStream(tensors, "sha256:0", request.param)


def codes_of(tokenizer: SoundStream, audio: np.ndarray, batch: int = 1) -> np.ndarray:
    """Codes of streams [n, T, 320], `batch` at a time: [n, T, layers]."""
    out = []
    for part in torch.from_numpy(audio).split(batch):
        state = tokenizer.initial_state(len(part))
        out.append(torch.stack([torch.cat(tokenizer.encode(frame, state), 1) for frame in part.unbind(1)], 1))
    return torch.cat(out).numpy()


def decoded(tokenizer: SoundStream, codes: np.ndarray, batch: int = 1) -> np.ndarray:
    """Samples [n, T, 320] of codes [n, T, layers]."""
    out = []
    for part in torch.from_numpy(codes.astype(np.int64)).split(batch):
        state = tokenizer.initial_decoder_state(len(part))
        frames = [tokenizer.decode(list(frame.split(1, 1)), state) for frame in part.unbind(1)]
        out.append(torch.stack(frames, 1))
    return torch.cat(out).numpy()


def test_the_kernels_are_torch_s_operations(tokenizer: SoundStream) -> None:
    """In 8 bits every code; in real numbers sums have another order, and a code may tip over at the edge of two."""
    audio = sounds(3, 60)
    found, theirs = codes_of(tokenizer, audio, 2), codes_of(by_torch(tokenizer), audio, 2)
    if "float" in tokenizer.spec.info.name:
        assert (found == theirs)[:, :, :16].mean() > 0.99
    else:
        assert np.array_equal(found, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_golden_codes(tensors, kind: str) -> None:
    """A change of any code is a change of the arithmetic: `python -m tests.codec.write_golden` on purpose."""
    golden = np.array(json.loads(GOLDEN.read_text())[kind])
    found = codes_of(SoundStream(tensors, "sha256:0", kind), sounds(1, 40))[0]
    np.testing.assert_array_equal(found, golden)
    assert all(len(np.unique(layer)) > 5 for layer in golden.T)


@pytest.mark.parametrize("block_ms", [1, 7, 20, 333])
def test_chunked_equals_whole(tokenizer: SoundStream, block_ms: int) -> None:
    audio = sounds(1, 30)
    samples, block = audio.reshape(-1), block_ms * SR // 1000
    assembler = FrameAssembler(Format(SR, 1), SR, FRAME)
    events = [Block(at, samples[at : at + block, None], 0) for at in range(0, len(samples), block)]
    chunks = [c for event in [*events, End("eof")] for c in assembler.feed(event)]
    frames = np.stack([c.samples for c in chunks if isinstance(c, FrameChunk)])
    np.testing.assert_array_equal(codes_of(tokenizer, frames[None]), codes_of(tokenizer, audio))


@pytest.mark.parametrize(("batch", "cores"), [(2, 1), (7, 2), (32, 1)])
def test_alone_equals_in_company(tokenizer: SoundStream, batch: int, cores: int) -> None:
    """Not the codes alone: the features, the state and the decoded samples, bit for bit."""
    audio = torch.from_numpy(sounds(32, 6))
    together, single = tokenizer.initial_state(batch), [tokenizer.initial_state(1) for _ in range(batch)]
    for frame in audio[:batch].unbind(1):
        torch.set_num_threads(cores)
        found = tokenizer.features(frame, together)
        torch.set_num_threads(1)
        alone = [tokenizer.features(row[None], state) for row, state in zip(frame, single, strict=True)]
        assert torch.equal(found, torch.cat(alone))
    for i, conv in enumerate(together.convs):
        assert torch.equal(conv.tail, torch.cat([state.convs[i].tail for state in single]))
    codes = codes_of(tokenizer, audio.numpy())
    np.testing.assert_array_equal(codes_of(tokenizer, audio.numpy(), batch), codes)
    np.testing.assert_array_equal(decoded(tokenizer, codes, batch), decoded(tokenizer, codes))


def test_the_future_does_not_change_the_past(tokenizer: SoundStream) -> None:
    audio = sounds(1, 30)
    codes = codes_of(tokenizer, audio)
    changed = audio.copy()
    changed[:, 15:] *= -0.5
    found = codes_of(tokenizer, changed)
    np.testing.assert_array_equal(found[:, :15], codes[:, :15])
    assert (found[0, 15:] != codes[0, 15:]).any(axis=1).sum() >= 14


def test_a_row_begins_anew_and_the_others_go_on(tokenizer: SoundStream) -> None:
    audio = sounds(3, 12)
    state, rows = tokenizer.initial_state(3), torch.tensor([1])
    expected = codes_of(tokenizer, audio)
    again = codes_of(tokenizer, audio[1:2, 6:])
    for t in range(12):
        if t == 6:
            scatter(state, rows, tokenizer.initial_state(1))
        codes = torch.cat(tokenizer.encode(torch.from_numpy(audio[:, t]), state), 1).numpy()
        np.testing.assert_array_equal(codes[[0, 2]], expected[[0, 2], t])
        np.testing.assert_array_equal(codes[1], expected[1, t] if t < 6 else again[0, t - 6])
    alone = gather(state, rows)
    assert [conv.tail.shape[0] for conv in alone.convs] == [1] * len(state.convs)


def test_the_rates_share_their_first_layers_and_any_prefix_can_be_heard(tensors) -> None:
    audio = sounds(1, 10)
    codes = [codes_of(SoundStream(tensors, "sha256:0", rate), audio) for rate in ("", "6.0", "9.2")]
    assert [c.shape[2] for c in codes] == [16, 30, 46]
    np.testing.assert_array_equal(codes[0], codes[2][..., :16])
    np.testing.assert_array_equal(codes[1], codes[2][..., :30])
    whole = SoundStream(tensors, "sha256:0", "9.2")
    np.testing.assert_array_equal(decoded(whole, codes[0]), decoded(SoundStream(tensors, "sha256:0", "3.2"), codes[0]))
    assert not np.array_equal(decoded(whole, codes[2]), decoded(whole, codes[0]))
    assert np.abs(decoded(whole, codes[2])).max() <= 1.0


def test_the_spec_says_what_is_there(tensors) -> None:
    spec = SoundStream(tensors, "sha256:0", "6.0:float").spec
    assert (spec.sr, spec.frame_samples, len(spec.layers)) == (16_000, 320, 30)
    assert {(layer.type, layer.vocab, layer.per_frame) for layer in spec.layers} == {("acoustic", 16, 1)}
    assert [layer.name for layer in spec.layers] == [f"A{i}" for i in range(30)]
    assert (spec.info.name, spec.info.dtype, spec.info.lookahead_ms) == ("soundstream:6.0:float", "float32", 0.0)
    assert SoundStream(tensors, "sha256:0").spec.info.dtype == "int8+float64"


def test_other_arithmetic_is_another_identity(tensors) -> None:
    ids = [SoundStream(tensors, "sha256:0", k).spec.info.codebook_id for k in ("", "6.0", "float", "6.0:float")]
    assert ids[0] == ids[1] == "sha256:0" != ids[2] == ids[3] and len(ids[2]) == len("sha256:") + 64
    assert SoundStream(tensors, "sha256:1", "float").spec.info.codebook_id not in ids


@pytest.mark.parametrize("options", ["5", "6.0:9.2", "float:6.0", "6.0:", "double", ":"])
def test_options_that_are_none_are_refused(options: str) -> None:
    with pytest.raises(ConfigError, match="soundstream has no option"):
        open_tokenizer(f"soundstream:{options}")


def test_a_tokenizer_without_options_refuses_them() -> None:
    with pytest.raises(ConfigError, match="ears takes no options"):
        open_tokenizer("ears:6.0")


def test_missing_weights_name_the_command_that_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATD_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="nat models convert soundstream --from") as caught:
        open_tokenizer("soundstream")
    assert caught.value.exit_code == 65
    run = [sys.executable, "-m", "natd", "--source", "demo:", "--seconds", "1", "--tokenizer", "soundstream"]
    off = ["--publish", "off", "--control", "off", "--http", "off", "--output", str(tmp_path / "out.ndjson")]
    daemon = subprocess.run([*run, *off], capture_output=True, text=True, timeout=60)
    assert daemon.returncode == 65
    assert "nat models convert soundstream --from" in daemon.stderr


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path, tensors) -> None:
    from natd.codebooks import store

    less = {name: tensor for name, tensor in tensors.items() if name != "encoder.blocks.1.down.bias"}
    store.save(tmp_path, soundstream.NAME, soundstream.SETTINGS, less, {})
    with pytest.raises(ModelError, match="lacks what the tokenizer needs"):
        soundstream.open_tokenizer(folder=tmp_path)
    store.save(tmp_path, soundstream.NAME, soundstream.SETTINGS | {"arithmetic": 0}, tensors, {})
    with pytest.raises(ModelError, match="nat models convert soundstream"):
        soundstream.open_tokenizer(folder=tmp_path)
    store.save(tmp_path, soundstream.NAME, soundstream.SETTINGS, tensors, {})
    assert soundstream.open_tokenizer(folder=tmp_path).spec.info.codebook_id.startswith("sha256:")


@pytest.mark.parametrize("part", ["bias", "down.weight", "pw.weight", "bottleneck.weight", "out.out"])
def test_an_encoder_of_another_shape_is_refused(tmp_path: Path, tensors, part: str) -> None:
    from natd.codebooks import store

    found = sorted(name for name in tensors if name.startswith("encoder.") and name.endswith(part))
    for name in found:
        cut = tensors[name][..., :16].clone()
        store.save(tmp_path, soundstream.NAME, soundstream.SETTINGS, {**tensors, name: cut}, {})
        with pytest.raises(ModelError, match="lacks what the tokenizer needs"):
            print(name, tensors[name].shape, soundstream.open_tokenizer(folder=tmp_path))
    assert found


# ---- with the real weights and what the original runtime made of them (reference kernels)

if VECTORS:

    @pytest.fixture(scope="module")
    def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("models")
        convert = [sys.executable, "-m", "natd.cli.nat", "models", "convert", "soundstream", "--from", str(SHARED)]
        run = "import sys; from natd.cli.nat import main; sys.exit(main(sys.argv[1:]))"
        convert = [sys.executable, "-c", run, *convert[3:]]
        subprocess.run(convert, env={**os.environ, "NATD_MODELS": str(folder)}, check=True, timeout=60)
        return folder

    @pytest.fixture(scope="module")
    def real(installed: Path) -> SoundStream:
        return soundstream.open_tokenizer(options="9.2", folder=installed)

    def frames_of(pcm: np.ndarray) -> np.ndarray:
        return (pcm.astype(np.float32) / 32768).reshape(1, -1, FRAME)

    def features_of(tokenizer: SoundStream, pcm: np.ndarray) -> np.ndarray:
        state = tokenizer.initial_state(1)
        frames = torch.from_numpy(frames_of(pcm))
        return torch.cat([tokenizer.features(frame, state) for frame in frames.unbind(1)]).numpy()

    @pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
    def test_every_frame_and_code_of_speech_is_the_original_s(real: SoundStream, path: Path) -> None:
        vectors = np.load(path)
        np.testing.assert_array_equal(features_of(real, vectors["pcm"]), vectors["features_builtin_ref"])
        codes = codes_of(real, frames_of(vectors["pcm"]))[0]
        np.testing.assert_array_equal(codes, vectors["codes_builtin_ref"])
        assert len(codes) >= 144

    def test_hard_signals_are_the_original_s_but_for_flips_at_a_rounding_edge(real: SoundStream) -> None:
        """The original sums in float32: where that falls on the other side of an edge, 0.3 s of 8-bit memory follow."""
        vectors = np.load(SHARED / "vectors" / "synthetic.npz")
        names = sorted({key.split("/")[0] for key in vectors if "/" in key})
        inexact = {}
        for name in names:
            wanted = vectors[f"{name}/features_builtin_ref"]
            wrong = (features_of(real, vectors[f"{name}/pcm"]) != wanted).any(axis=1)
            inexact[name] = int(wrong.sum())
        assert len(names) == 9
        assert sum(inexact.values()) <= 16  # one flip; 12 of 1,294 frames as measured
        assert sum(count > 0 for count in inexact.values()) <= 1

    def log_mel(samples: np.ndarray) -> np.ndarray:
        import torchaudio

        mel = torchaudio.transforms.MelSpectrogram(SR, n_fft=640, hop_length=320, n_mels=64)
        return (10 * torch.log10(mel(torch.from_numpy(samples)) + 1e-8)).numpy()

    @pytest.mark.parametrize("mode", ["", ":float"])
    @pytest.mark.parametrize("rate", ["3.2", "6.0", "9.2"])
    @pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
    def test_decoded_speech_is_near_the_original_and_shuffled_codes_are_not(
        installed: Path, path: Path, rate: str, mode: str
    ) -> None:
        vectors = np.load(path)
        tokenizer = soundstream.open_tokenizer(options=rate + mode, folder=installed)
        codes = codes_of(tokenizer, frames_of(vectors["pcm"]))
        shuffled = np.random.default_rng(0).permutation(codes[0])[None]
        heard = log_mel(frames_of(vectors["pcm"]).reshape(-1))
        active = heard.max(axis=0) > heard.max() - 50
        theirs = vectors[f"audio_xnnpack_q{codes.shape[2]}"]
        own, null, original = (
            np.abs(log_mel(samples.reshape(-1)) - heard)[:, active].mean()
            for samples in (decoded(tokenizer, codes), decoded(tokenizer, shuffled), theirs)
        )
        print(f"{path.stem} {rate}{mode}: log-mel {own:.2f} dB, shuffled {null:.2f}, the original {original:.2f}")
        assert own < original + 0.3
        assert null > own + 8

    @pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
    def test_quantizer_is_the_original_s(real: SoundStream, path: Path) -> None:
        vectors = np.load(path)
        for kernels in ("xnnpack", "builtin_ref"):
            codes = real.quantizer.encode(torch.from_numpy(vectors[f"features_{kernels}"]))
            np.testing.assert_array_equal(torch.stack(codes, 1).numpy(), vectors[f"codes_{kernels}"])
        for count in (16, 30, 46):
            codes = [torch.from_numpy(c.astype(np.int64)) for c in vectors["codes_xnnpack"][:, :count].T]
            np.testing.assert_array_equal(real.quantizer.decode(codes), vectors[f"quantized_features_q{count}"])

    @pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
    def test_nat_tokenize_gives_these_codes_whatever_the_pieces(
        installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path
    ) -> None:
        from natd.cli.nat import main

        monkeypatch.setenv("NATD_MODELS", str(installed))
        vectors = np.load(path)
        soundfile.write(tmp_path / "speech.wav", vectors["pcm"], SR, subtype="PCM_16")
        for piece in ("3", "20", "1000"):
            out = tmp_path / f"{piece}.ndjson"
            options = ["--tokenizer", "soundstream:9.2", "--chunk-ms", piece, "-o", str(out)]
            assert main(["tokenize", str(tmp_path / "speech.wav"), *options]) == 0
            events = [json.loads(line) for line in out.read_text().splitlines()]
            assert events[0]["tokenizer"]["name"] == "soundstream:9.2"
            codes = [event["A"] for event in events if event["event"] == "frame"]
            np.testing.assert_array_equal(codes, vectors["codes_builtin_ref"])
            assert main(["check", str(out)]) == 0
