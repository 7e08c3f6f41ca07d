"""The vignettes of this folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from cds_service.vignettes.cases import Vignette, read_folder

FOLDER = Path(__file__).parent


@cache
def all_vignettes() -> tuple[Vignette, ...]:
    """Return every vignette of this folder, theme by theme."""
    return read_folder(FOLDER)
