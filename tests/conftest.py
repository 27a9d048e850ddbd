"""Settings for all tests."""

import os
import signal

from hypothesis import settings

# A busy machine is no fault of the code: no deadlines. In CI the same examples every time, so that a red run repeats.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# A shell that starts the tests in the background makes them ignore Ctrl-C, and all programs that they start as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
