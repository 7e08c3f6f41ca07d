"""What holds for every test: what services wrote is searched when the run ends."""

from tests.everything_written import everything_written

__all__ = ["everything_written"]
