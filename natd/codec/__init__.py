"""Tokenizers: the protocol they all follow, and the registry that opens them by name.

A tokenizer is weights + `initial_state(batch)` + `encode(chunk, state) -> codes`; many streams share one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

from natd.codebooks.naming import Run
from natd.errors import ConfigError
from natd.wire import Layer, TokenizerInfo

if TYPE_CHECKING:
    from torch import Tensor

ENTRY_POINTS = "natd.tokenizers"
BUILTIN: dict[str, str] = {
    "ears": "natd.codec.ears:open_tokenizer",
    "soundstream": "natd.codec.soundstream:open_tokenizer",
    "mimi": "natd.codec.mimi:open_tokenizer",
    "dac": "natd.codec.dac:open_tokenizer",
    "snac": "natd.codec.snac:open_tokenizer",
    "encodec": "natd.codec.encodec:open_tokenizer",
    "hubert": "natd.codec.ssl:open_hubert",
    "wavlm": "natd.codec.ssl:open_wavlm",
    "wav2vec2": "natd.codec.ssl:open_wav2vec2",
    "mert": "natd.codec.ssl:open_mert",
}


@dataclass(frozen=True, slots=True)
class Spec:
    """What a tokenizer promises: rate (Hz), samples per frame, layers in wire order, identity.

    The codes that the n-th step of a stream gives are those of its frame n - `delay_frames`; the first are of none.
    """

    info: TokenizerInfo
    sr: int
    frame_samples: int
    layers: tuple[Layer, ...]
    delay_frames: int = 0


class Tokenizer(Protocol):
    """Causal streaming tokenizer; `encode` takes exactly one frame per row and updates `state` in place.

    The codes of a row depend on that row's samples alone: not on the batch size, the other rows or the process.
    """

    spec: Spec
    glossary: Mapping[str, Mapping[int, str]]  # layer name -> code -> phrase; empty where the codes have no words

    def initial_state(self, batch: int) -> Any:
        """State of `batch` streams that have heard nothing: a dataclass of tensors, batch first (see `state`)."""

    def encode(self, chunk: Tensor, state: Any) -> list[Tensor]:
        """One frame `[B, frame_samples]` float32 -> per layer the codes `[B, per_frame]` int64."""


class LookAhead(Protocol):
    """What a tokenizer that tells the end of a sound from silence also offers."""

    def finish(self, state: Any) -> None:
        """The sounds of all rows end with the frames they have had; steps of silence then give the other codes."""


class Decoder(Protocol):
    """What a tokenizer that can be heard back also offers."""

    def initial_decoder_state(self, batch: int) -> Any:
        """State of `batch` decoders at the start of a stream."""

    def decode(self, codes: list[Tensor], state: Any) -> Tensor:
        """Per layer the codes `[B, per_frame]` of one frame -> samples `[B, frame_samples]` float32."""


def heard_layers(tokenizer: Any) -> tuple[str, ...]:
    """The types of layers whose codes its decoder takes: acoustic, unless its `decodes` says otherwise."""
    found: tuple[str, ...] = getattr(tokenizer, "decodes", ("acoustic",))
    return found


def sounding(tokenizer: Tokenizer) -> tuple[Tokenizer, int]:
    """Whose decoder turns its codes into sound, and how many of that one's frames are one of its own.

    That is itself, but for a tokenizer of several: its `sounds` says which.
    """
    found: tuple[Tokenizer, int] = getattr(tokenizer, "sounds", (tokenizer, 1))
    return found


class LateDecoder(Decoder, Protocol):
    """A decoder whose samples are late: the first `decoder_delay_samples` of a stream are of none."""

    decoder_delay_samples: int

    def finish_decoding(self, state: Any) -> None:
        """The sounds of all rows end with the frames they have had; further steps, of any codes, give the rest."""


class MelDecoder(Protocol):
    """What a tokenizer whose acoustic codes give back the log-mel also offers."""

    def initial_mel_state(self, batch: int) -> Any:
        """State of `batch` decoders at the start of a stream."""

    def decode_mel(self, codes: list[Tensor], state: Any) -> Tensor:
        """One frame's codes `[B, per_frame]` of the first acoustic layers (one or more) -> log-mel in dB `[B, 8, 128]`.

        Bands and windows are those of `natd.codec.mel`.
        """


class Kinds(Protocol):
    """What a tokenizer whose codes stand for kinds of sound (`natd.codebooks.kinds`) also offers.

    `kinds`: layer -> code -> kind -> its share (0..1) among what chose that code; the rest up to 1 is unknown.
    `called`: layer -> code -> what the code's name says: a kind, a wider kind, "unknown", or "" for silence and for
    what has not been heard long enough.
    """

    kinds: Mapping[str, Mapping[int, Mapping[str, float]]]
    called: Mapping[str, Mapping[int, str]]


class Named(Protocol):
    """What a tokenizer whose codes have short names, for the header of its streams, also offers."""

    names: Mapping[str, Sequence[Run]]  # layer name -> runs; at most `natd.codebooks.naming.MAX_BYTES` in all


def names() -> list[str]:
    """Names that `open_tokenizer` takes: built in, then installed by other packages."""
    return sorted(BUILTIN) + sorted(e.name for e in entry_points(group=ENTRY_POINTS))


def open_tokenizer(name: str, device: str = "cpu") -> Tokenizer:
    """The tokenizer `name`, `name:options` or `semantic+acoustic` (see `hybrid`) on a torch `device`.

    ConfigError if it is unknown or takes no such options, ModelError if its weights are missing or wrong.
    """
    pair = _pair(name)
    if pair is not None:
        if any(_pair(part) is not None for part in pair) or "" in pair:
            raise ConfigError(f"{name!r} is not two tokenizers: SEMANTIC+ACOUSTIC, e.g. hubert+soundstream")
        hybrid = import_module("natd.codec.hybrid")
        built: Tokenizer = hybrid.Hybrid(*(open_tokenizer(part, device) for part in pair), device)
        return built
    factory: Callable[..., Tokenizer]
    base, colon, options = name.partition(":")
    if colon and not options:
        raise ConfigError(f"{name!r} ends with a colon: options follow one, e.g. mimi:codebooks=32")
    if base in BUILTIN:
        module, _, attribute = BUILTIN[base].partition(":")
        factory = getattr(import_module(module), attribute)
    else:
        found = [e for e in entry_points(group=ENTRY_POINTS) if e.name == base]
        if not found:
            if base.endswith("+") or base.startswith("+"):
                raise ConfigError(f"{base!r} is not two tokenizers: SEMANTIC+ACOUSTIC, e.g. hubert+soundstream")
            base = next((part for part in base.split("+") if part and part not in names()), base)
            raise ConfigError(f"no tokenizer is called {base!r}; there is {', '.join(names())}")
        factory = found[0].load()
    if not options:
        return factory(device=device)
    if "options" not in signature(factory).parameters:
        raise ConfigError(f"the tokenizer {base} takes no options, not {options!r}")
    return factory(device=device, options=options)


def _pair(name: str) -> tuple[str, str] | None:
    """The two names in `semantic+acoustic`; None where no tokenizer stands behind a plus."""
    known = names()
    for at, sign in enumerate(name):
        if sign == "+" and name[at + 1 :].partition(":")[0] in known:
            return name[:at], name[at + 1 :]
    return None
