"""What the codes of a tokenizer mean, as its glossary says."""

from __future__ import annotations

from natd.codec import Spec, Tokenizer, open_tokenizer
from natd.errors import ConfigError


def show(name: str, which: str | None) -> int:
    """Print the phrases of all codes, of one layer (`S1`) or of one code (`S1:37`) of tokenizer `name`."""
    tokenizer = open_tokenizer(name)
    if not tokenizer.glossary:
        raise ConfigError(f"the codes of {name} have no words")
    layer, code = _parse(which, tokenizer.spec) if which else (None, None)
    for row in tokenizer.spec.layers:
        if layer in (None, row.name):
            _show_layer(tokenizer, row.name, row.about, row.vocab, code)
    return 0


def _show_layer(tokenizer: Tokenizer, layer: str, about: str, vocab: int, code: int | None) -> None:
    words = tokenizer.glossary.get(layer, {})
    if code is None:
        said = f"{len(words)} of {vocab} codes have words" if words else f"{vocab} codes, none has words"
        print(f"{layer}  {about}: {said}")
    for number in sorted(words) if code is None else [code]:
        print(f"{layer}:{number:<5} {words.get(number, '(no words)')}")


def _parse(which: str, spec: Spec) -> tuple[str, int | None]:
    layer, _, number = which.partition(":")
    known = {row.name: row.vocab for row in spec.layers}
    if layer not in known:
        raise ConfigError(f"no layer {layer!r}; there are {', '.join(known)}")
    if not number:
        return layer, None
    if not number.isdigit() or int(number) >= known[layer]:
        raise ConfigError(f"{which!r}: the codes of {layer} are 0 to {known[layer] - 1}")
    return layer, int(number)
