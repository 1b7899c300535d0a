"""Settings of every test: NATD_EXAMPLES tries each property with that many examples (100 unless given)."""

import os

from hypothesis import settings

# A busy machine is slow, not wrong: no deadline.
settings.register_profile("natd", deadline=None, max_examples=int(os.environ.get("NATD_EXAMPLES", "100")))
settings.load_profile("natd")
