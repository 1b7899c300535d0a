"""The device a model is asked to run on is there, or the reason is said."""

import pytest
import torch

from natd.codec.devices import present
from natd.errors import ConfigError


def test_what_there_is() -> None:
    assert present("cpu") == "cpu"
    assert present("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["tpu", "", "gpu0", "CPU"])
def test_what_there_is_not(device: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no device '{device}': use cpu, cuda"):
        present(device)


def test_cuda_that_torch_does_not_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device cuda:1 was asked for but torch finds no CUDA device"):
        present("cuda:1")
