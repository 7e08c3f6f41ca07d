"""What holds for every test.

What services wrote is searched, no example has a time limit, and Ctrl-C ends what tests start: a
script that runs them in its background ignores it, and so would every program below.
"""

import signal

from hypothesis import settings

from tests.everything_written import everything_written

__all__ = ["everything_written"]

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
signal.signal(signal.SIGINT, signal.default_int_handler)
