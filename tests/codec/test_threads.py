"""What is done on one thread."""

import pytest
import torch

from natd.codec.threads import one_thread


def test_one_thread_gives_the_threads_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == before
