"""Few rendered pieces: what a test asks of them does not need many."""

from collections.abc import Iterator

import pytest

from natd.evaluation import rendered


@pytest.fixture(autouse=True, scope="session")
def few_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "LEARNED", {"solo": 2})
        patch.setattr(rendered, "SCORED", {"solo": 1, "band": 1})
        yield
