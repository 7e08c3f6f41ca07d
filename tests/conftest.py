"""What holds for every test: what services wrote is searched, and no example has a time limit."""

from hypothesis import settings

from tests.everything_written import everything_written

__all__ = ["everything_written"]

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
