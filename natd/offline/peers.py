"""Other programs that run the same models, a step at a time, to be measured beside natd in the same process."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from natd.offline import stand_ins

log = logging.getLogger(__name__)
MIMI_FRAME = 1920
MIMI_STEPS = 130  # after which its window of attention is full
WINDOW_S, HOP_S = 5.0, 0.5  # of an encoder that hears a window anew for every hop
CODEC_S = 0.34  # a chunk of a codec without streaming, encoded by itself: its cheapest size, and other codes


@dataclass(slots=True)
class Peer:
    """A program: `step` encodes `step_ms` of a sound of its own, whatever it is given."""

    step: Callable[[Tensor], Any]
    step_ms: float
    warm_up_steps: int = 3

    def warm_up(self) -> None:
        """Steps until it costs what it costs for ever."""
        for _ in range(self.warm_up_steps):
            self.step(torch.zeros(0))


def of(name: str) -> dict[str, Peer]:
    """Label -> peer of the tokenizer `name`; empty where there is none."""
    base = name.partition(":")[0]
    if base == "mimi":
        return {"  transformers, streaming": _mimi(name)} | _moshi_and_rust()
    if base in ("hubert", "wavlm", "wav2vec2"):
        return {f"  transformers, {WINDOW_S:g} s window": _window(name)}
    if base in ("encodec", "dac", "snac"):
        owner = "its package" if base == "snac" else "transformers"
        return {f"  {owner}, chunks alone": _chunks(name)} | _package(name)
    return {}


def _mimi(name: str) -> Peer:
    model = stand_ins.build(name).module
    frame = round(model.config.sampling_rate / model.config.frame_rate)
    sound = 0.1 * torch.randn(1, 1, frame)
    state: dict[str, Any] = {"encoder_cache": None, "padding_cache": None}

    def step(_: Tensor) -> Any:
        out = model.encode(sound, num_quantizers=8, use_streaming=True, **state)
        state["encoder_cache"], state["padding_cache"] = out.encoder_cache, out.padding_cache
        return out.audio_codes

    return Peer(step, 1e3 * frame / model.config.sampling_rate, MIMI_STEPS)


def _moshi_and_rust() -> dict[str, Peer]:
    """Kyutai's own two programs, as far as they are installed; weights as moshi draws them."""
    try:
        loaders = import_module("moshi.models.loaders")
    except ImportError as error:
        log.warning("moshi and rustymimi are not measured (%s): pip install --no-deps moshi sphn rustymimi", error)
        return {}
    model = loaders.get_mimi(None).eval()
    model.streaming_forever(1)
    sound = 0.1 * torch.randn(1, 1, MIMI_FRAME)
    found = {"  moshi, streaming": Peer(lambda _: model.encode(sound), 80.0, MIMI_STEPS)}
    try:
        rust = import_module("rustymimi")
    except ImportError as error:
        log.warning("rustymimi is not measured (%s)", error)
        return found
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mimi.safetensors"
        save_file({older_name(key): tensor.contiguous().clone() for key, tensor in model.state_dict().items()}, path)
        tokenizer = rust.Tokenizer(str(path), num_codebooks=8)
    samples = sound.numpy()
    return found | {"  rustymimi, streaming": Peer(lambda _: tokenizer.encode_step(samples), 80.0, MIMI_STEPS)}


def older_name(name: str) -> str:
    """A tensor's name as the published file has it, which rustymimi reads."""
    return name.replace("in_projs.0.weight", "in_proj_weight").replace("out_projs.0.weight", "out_proj.weight")


def _window(name: str) -> Peer:
    module = stand_ins.build(name).module
    sound = 0.1 * torch.randn(1, int(WINDOW_S * 16_000))
    return Peer(lambda _: module(sound, output_hidden_states=True), 1e3 * HOP_S)


def _package(name: str) -> dict[str, Peer]:
    """The package of the authors of EnCodec or DAC, where it is installed; weights as it draws them."""
    base, _, options = name.partition(":")
    package = {"encodec": "encodec", "dac": "dac"}.get(base)
    if package is None:
        return {}
    try:
        module = import_module(package)
    except ImportError as error:
        log.warning("the package of %s's authors is not measured: %s", base, error)
        return {}
    if base == "encodec":
        model = module.EncodecModel.encodec_model_24khz(pretrained=False).eval()
        model.set_target_bandwidth(6.0)
        rate = model.sample_rate
    else:
        config: Mapping[str, Any] = stand_ins.DAC[options.partition("model=")[2].partition(":")[0] or "44khz"]
        down, rate = config["downsampling_ratios"], config["sampling_rate"]
        parts = {"encoder_rates": down, "decoder_rates": down[::-1], "n_codebooks": config["n_codebooks"]}
        model = module.DAC(sample_rate=rate, **parts).eval()
    sound = 0.1 * torch.randn(1, 1, int(CODEC_S * rate) // 512 * 512)
    ms = 1e3 * sound.shape[2] / rate
    return {"  its authors' package, chunks alone": Peer(lambda _: model.encode(sound), ms)}


def _chunks(name: str) -> Peer:
    made = stand_ins.build(name)
    rate = int(made.config["sampling_rate"])
    sound = 0.1 * torch.randn(1, 1, int(CODEC_S * rate))
    base = name.partition(":")[0]
    more = {"bandwidth": 6.0} if base == "encodec" else {}
    return Peer(lambda _: made.module.encode(sound, **more), 1e3 * CODEC_S)
