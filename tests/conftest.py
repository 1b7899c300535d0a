"""Settings of every test: NATD_EXAMPLES tries each property with that many examples (100 unless given)."""

import asyncio
import inspect
import os

import pytest
from hypothesis import settings

# A busy machine is slow, not wrong: no deadline.
settings.register_profile("natd", deadline=None, max_examples=int(os.environ.get("NATD_EXAMPLES", "100")))
settings.load_profile("natd")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test on an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True
