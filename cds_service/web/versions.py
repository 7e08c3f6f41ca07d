"""Which version of the service runs here?"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_PACKAGE = "post-laminectomy-cds"


def own_version(package: str = _PACKAGE) -> str:
    """Return the version of the installed *package*; a checkout that is not installed has none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
