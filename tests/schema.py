"""Does a line follow the published JSON Schema? For every test that captures real output."""

from pathlib import Path
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

SCHEMA: dict[str, Any] = orjson.loads((Path(__file__).parents[1] / "clients" / "natd.schema.json").read_bytes())
Draft202012Validator.check_schema(SCHEMA)
_known = {
    ref["$ref"].rpartition("/")[2]: Draft202012Validator({"$ref": ref["$ref"], "$defs": SCHEMA["$defs"]})
    for ref in SCHEMA["oneOf"]
}


def validate_line(line: bytes) -> dict[str, Any]:
    """The event as plain JSON; AssertionError, saying why, unless it is one whole line that the schema allows."""
    assert line.endswith(b"\n") and line.count(b"\n") == 1, f"not one line with LF: {line[:80]!r}"
    event: dict[str, Any] = orjson.loads(line)  # refuses NaN and Infinity
    validator = _known.get(str(event.get("event")))
    assert validator is not None, f"the schema knows no event {event.get('event')!r}"
    fault = best_match(validator.iter_errors(event))
    assert fault is None, f"{fault.message} at {fault.json_path} of {line[:200]!r}"  # type: ignore[union-attr]
    return event
