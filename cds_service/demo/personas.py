"""Which synthetic charts come with the product, and what should the service answer for them.

Charts are stored with dates relative to today; this module fills the dates in.  It does not read
the clock: the caller says what today is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

from cds_service.errors import SettingsError

Resource = dict[str, Any]
"""A FHIR resource as JSON: the test EHR and its FHIR server carry any resource unread."""

_DATE = re.compile(r"\{\{today([+-]\d+)?(T[^{}]*)?\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """A synthetic chart with its story.

    ``expected_cards`` are card ids in the order of the answer, for the whole chart on ``today``;
    ``bundle`` is a FHIR transaction Bundle with real dates.
    """

    id: str
    title: str
    story: str
    expected_cards: tuple[str, ...]
    bundle: Mapping[str, Any]

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return the resources of the chart, the Patient first."""
        return tuple(entry["resource"] for entry in self.bundle["entry"])

    @property
    def patient_id(self) -> str:
        """Return the FHIR id of the patient."""
        return str(self.resources[0]["id"])


def load_personas(today: date, folder: Path | None = None) -> tuple[Persona, ...]:
    """Return every persona in *folder* with its dates filled in for *today*.

    Raises:
        SettingsError: A chart named in ``index.yaml`` is missing or is not JSON.
    """
    folder = folder or fixtures_folder() / "personas"
    index = yaml.safe_load((folder / "index.yaml").read_text(encoding="utf-8"))
    return tuple(_persona(entry, folder, today) for entry in index)


def fixtures_folder() -> Path:
    """Return ``fhir_fixtures``: inside an installed package, or beside it in a checkout.

    Raises:
        SettingsError: The folder is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "fhir_fixtures", package.parent / "fhir_fixtures"):
        if folder.is_dir():
            return folder
    raise SettingsError(
        "The folder fhir_fixtures is missing beside the package cds_service, so there are no demo "
        "patients. Reinstall the package, or run from a complete checkout."
    )


def with_dates(text: str, today: date) -> str:
    """Return *text* with every ``{{today-N}}`` replaced by a FHIR date or dateTime."""

    def filled(match: re.Match[str]) -> str:
        day = today + timedelta(days=int(match.group(1) or 0))
        return day.isoformat() + (match.group(2) or "")

    return _DATE.sub(filled, text)


def _persona(entry: Mapping[str, Any], folder: Path, today: date) -> Persona:
    path = folder / f"{entry['id']}.json"
    try:
        bundle = json.loads(with_dates(path.read_text(encoding="utf-8"), today))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{path}: this chart is named in index.yaml but could not be read as JSON "
            f"({type(error).__name__}). Restore the file or remove its entry from index.yaml."
        ) from error
    return Persona(
        id=entry["id"],
        title=entry["title"],
        story=entry["story"],
        expected_cards=tuple(entry["expected_cards"]),
        bundle=bundle,
    )
