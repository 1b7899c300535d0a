"""An interrupt while a model loads: the programs end with 130 and say nothing."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import torch
from natd import codec
from natd.cli import nat, natd

def load(device):
    print("loading", flush=True)
    x = torch.ones(600, 600)
    while True:
        x @ x  # without Python's lock, as weights are read

sys.modules["endless"] = sys.modules["__main__"]
codec.BUILTIN["endless"] = "endless:load"
raise SystemExit({"nat": nat, "natd": natd}[sys.argv[1]].main(sys.argv[2:]))
"""
OFF = ["--publish", "off", "--control", "off", "--http", "off"]


@pytest.mark.parametrize("words", [["nat", "tokenize", "x.wav"], ["natd", "--source", "demo:", *OFF]], ids=" ".join)
def test_an_interrupt_while_a_model_loads(words, tmp_path):
    command = [sys.executable, "-c", PROGRAM, *words, "--tokenizer", "endless"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        assert (process.wait(60), process.stderr.read()) == (130, b"")
