"""Write tests/golden after a change that was meant: `python -m tests.codec.write_golden [ears] [dac] ...`."""

import json
import sys

from natd.codec import ears
from natd.codec.encodec import EnCodec
from natd.codec.mimi import Mimi
from natd.codec.soundstream import SoundStream
from tests.codec import (
    encodec_models,
    mimi_models,
    test_ears,
    test_encodec,
    test_look_ahead,
    test_mimi,
    test_soundstream,
    test_ssl,
)
from tests.codec.sounds import score
from tests.codec.soundstream_weights import random_weights, sounds
from tests.codec.ssl_models import MODELS, reference


def write_ears() -> None:
    tokenizer = ears.open_tokenizer()
    codes = test_ears.codes_of(tokenizer, score()[None], [0], 1)[0].tolist()
    rows = ",\n".join(json.dumps(row) for row in codes)
    layers = json.dumps(test_ears.LAYERS)
    head = f'{{"codebook_id": "{tokenizer.spec.info.codebook_id}",\n"layers": {layers},\n"codes": [\n'
    test_ears.GOLDEN.write_text(head + rows + "\n]}\n")


def write_soundstream() -> None:
    kinds = []
    for kind in test_soundstream.KINDS:
        tokenizer = SoundStream(random_weights(), "sha256:0", kind)
        codes = test_soundstream.codes_of(tokenizer, sounds(1, 40))[0].tolist()
        kinds.append(f'"{kind}": [\n' + ",\n".join(json.dumps(row) for row in codes) + "\n]")
    test_soundstream.GOLDEN.write_text("{" + ",\n".join(kinds) + "}\n")


def write_look_ahead(name: str) -> None:
    kinds = []
    for kind in test_look_ahead.KINDS:
        if kind.startswith(name):
            layers = ",\n".join(json.dumps(layer) for layer in test_look_ahead.golden_codes(kind))
            kinds.append(f'"{kind}": [\n{layers}\n]')
    (test_look_ahead.GOLDEN / f"{name}.json").write_text("{" + ",\n".join(kinds) + "}\n")


def write_encodec() -> None:
    tokenizer = EnCodec(encodec_models.checkpoint(encodec_models.published(**encodec_models.SMALL)))
    codes = encodec_models.codes_of(tokenizer, encodec_models.sound(1, 32), 8)[0].tolist()
    test_encodec.GOLDEN.write_text("[\n" + ",\n".join(json.dumps(layer) for layer in codes) + "\n]\n")


def write_mimi() -> None:
    tokenizer = Mimi(mimi_models.checkpoint(mimi_models.published(**mimi_models.SMALL)))
    codes = mimi_models.codes_of(tokenizer, mimi_models.sound(1, 32))[0].tolist()
    test_mimi.GOLDEN.write_text("[\n" + ",\n".join(json.dumps(layer) for layer in codes) + "\n]\n")


def write_ssl() -> None:
    kinds = []
    for name in MODELS:
        rows = ",\n".join(json.dumps(row) for row in test_ssl.golden_codes(reference(name)).tolist())
        kinds.append(f'"{name}": [\n{rows}\n]')
    test_ssl.GOLDEN.write_text("{" + ",\n".join(kinds) + "}\n")


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["ears", "soundstream", "encodec", "mimi", "dac", "snac", "ssl"]
    if "ears" in wanted:
        write_ears()
    if "soundstream" in wanted:
        write_soundstream()
    if "encodec" in wanted:
        write_encodec()
    if "mimi" in wanted:
        write_mimi()
    if "ssl" in wanted:
        write_ssl()
    for name in ("dac", "snac"):
        if name in wanted:
            write_look_ahead(name)
