"""Settings for all tests."""

import os

from hypothesis import settings

# A busy machine is no fault of the code: no deadlines. In CI the same examples every time, so that a red run repeats.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
