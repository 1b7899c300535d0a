"""Rendering and speech are tested where FluidSynth, its fonts and espeak-ng are installed (in CI they must be)."""

import os

import pytest

from natd.errors import ConfigError
from natd.training import midi, speech

collect_ignore = []
for needed, name in ((midi.soundfont, "test_midi.py"), (speech.program, "test_speech.py")):
    try:
        needed()
    except ConfigError as error:
        if os.environ.get("CI"):
            raise pytest.UsageError(str(error)) from error
        collect_ignore.append(name)
