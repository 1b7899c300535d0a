"""Write tests/golden/ears.json after a change of `ears` that was meant: `python -m tests.codec.write_golden`."""

import json

from natd.codec import ears
from tests.codec.sounds import score
from tests.codec.test_ears import GOLDEN, LAYERS, codes_of

if __name__ == "__main__":
    tokenizer = ears.open_tokenizer()
    codes = codes_of(tokenizer, score()[None], [0], 1)[0].tolist()
    rows = ",\n".join(json.dumps(row) for row in codes)
    head = f'{{"codebook_id": "{tokenizer.spec.info.codebook_id}",\n"layers": {json.dumps(LAYERS)},\n"codes": [\n'
    GOLDEN.write_text(head + rows + "\n]}\n")
