"""What a tokenizer tells of its codes on request: phrases of all, of a layer, or all that is known of one code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from natd.codec import Tokenizer
from natd.errors import ConfigError

OPTIONAL = ("phrase", "count", "confidence", "closest", "examples")  # of an entry, in the order they are told


def answer(tokenizer: Tokenizer, layer: str | None = None, code: int | None = None) -> dict[str, Any]:
    """`codes` (layer -> code -> phrase) of all layers or one, or all of one code; ConfigError if there is none such."""
    if layer is None:
        if code is not None:
            raise ConfigError(f"code {code} of which layer? there are {', '.join(_sizes(tokenizer))}")
        return {"codes": {name: _phrases(tokenizer, name) for name in tokenizer.glossary}}
    require(tokenizer, layer, code)
    if code is None:
        return {"codes": {layer: _phrases(tokenizer, layer)}}
    return {"layer": layer, "code": code, **entry(tokenizer, layer, code)}


def entry(tokenizer: Tokenizer, layer: str, code: int) -> dict[str, Any]:
    """What is known of a code: `OPTIONAL` fields, and `means`: descriptor -> mean and unit. The rest is left out."""
    legend = told(tokenizer)
    row: Mapping[str, Any] = legend.get("codes", {}).get(layer, {}).get(str(code), {})
    found = {field: row[field] for field in OPTIONAL if row.get(field) not in (None, "", [], {})}
    phrase = tokenizer.glossary.get(layer, {}).get(code)
    if phrase is not None:
        found = {"phrase": phrase, **found}
    units: Mapping[str, str] = legend.get("descriptors", {})
    means = {
        name: {"mean": mean, "unit": unit}
        for (name, unit), mean in zip(units.items(), row.get("means", ()), strict=False)
        if mean is not None
    }
    return {**found, "means": means} if means else found


def told(tokenizer: Tokenizer) -> Mapping[str, Any]:
    """The legend a tokenizer has beside its phrases: `descriptors` (name -> unit) and `codes`; {} where it has none."""
    legend: Mapping[str, Any] = getattr(tokenizer, "legend", None) or {}
    return legend


def require(tokenizer: Tokenizer, layer: str, code: int | None = None) -> None:
    """ConfigError, saying what there is, unless the tokenizer has this layer and code."""
    sizes = _sizes(tokenizer)
    if layer not in sizes:
        raise ConfigError(f"no layer {layer!r}; there are {', '.join(sizes)}")
    if code is not None and not 0 <= code < sizes[layer]:
        raise ConfigError(f"no code {code} in {layer}: they are 0 to {sizes[layer] - 1}")


def _sizes(tokenizer: Tokenizer) -> dict[str, int]:
    return {row.name: row.vocab for row in tokenizer.spec.layers}


def _phrases(tokenizer: Tokenizer, layer: str) -> dict[str, str]:
    return {str(code): phrase for code, phrase in tokenizer.glossary.get(layer, {}).items()}
