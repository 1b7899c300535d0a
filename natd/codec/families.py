"""Which published model a checkpoint is of, by what its config.json says and by a tensor that all of its kind have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from natd.errors import ModelError


@dataclass(frozen=True, slots=True)
class Family:
    """What config.json calls it (`types`), which `keys` tell it where nothing is said, the end of a tensor's name."""

    types: tuple[str, ...]
    tensor: str
    keys: frozenset[str] = frozenset()


_SSL = "feature_extractor.conv_layers.0.conv.weight"
FAMILIES = {
    "mimi": Family(("mimi",), "quantizer.semantic_residual_vector_quantizer.layers.0.codebook.embed_sum"),
    "encodec": Family(("encodec",), "quantizer.layers.0.codebook.embed"),
    "snac": Family(
        ("snac",), "encoder.block.1.block.0.block.0.alpha", frozenset({"encoder_rates", "vq_strides", "depthwise"})
    ),
    "dac": Family(("dac",), "encoder.conv1.bias", frozenset({"downsampling_ratios", "encoder_hidden_size"})),
    "hubert": Family(("hubert",), _SSL),
    "wavlm": Family(("wavlm",), _SSL),
    "wav2vec2": Family(("wav2vec2",), _SSL),
    "mert": Family(("mert_model", "hubert"), _SSL),
}
RATES = {"16khz": 16_000, "24khz": 24_000, "32khz": 32_000, "44khz": 44_100}


def check_config(name: str, config: Mapping[str, Any], where: object) -> None:
    """ModelError if the config.json of `where` is of another model than `name` (`mimi`, `snac_24khz`).

    Where it does not say of which, the tensors must tell; of a `name` that is not known here nothing is said.
    """
    base, _, size = name.partition("_")
    found, said = family_of(config), config.get("model_type")
    if base not in FAMILIES:
        return
    if base not in found and (found or said is not None):
        raise ModelError(f"{where}: config.json is of {_a(found[0] if found else str(said))}, not of {_a(base)}")
    rate = config.get("sampling_rate", RATES.get(size))
    if size in RATES and rate != RATES[size]:
        raise ModelError(f"{where}: config.json is of {_a(base)} of {rate} Hz, not of {RATES[size]} Hz")


def check_tensors(name: str, tensors: Collection[str], where: object) -> None:
    """ModelError unless the `tensors` of `where` have the names of those of the model `name`."""
    base = name.partition("_")[0]
    if base in FAMILIES and not any(tensor.endswith(FAMILIES[base].tensor) for tensor in tensors):
        found = [other for other, family in FAMILIES.items() if any(t.endswith(family.tensor) for t in tensors)]
        other = f"they are of {_a(found[0])}" if found else f"they lack {FAMILIES[base].tensor}"
        raise ModelError(f"{where}: the weights are not of {_a(base)}: {other}")


def family_of(config: Mapping[str, Any]) -> list[str]:
    """The models that a config.json may be of: mostly one; none where it does not say, or says one not known here."""
    said = config.get("model_type")
    if said is None:
        return [name for name, family in FAMILIES.items() if family.keys and family.keys <= config.keys()]
    return [name for name, family in FAMILIES.items() if said in family.types]


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
