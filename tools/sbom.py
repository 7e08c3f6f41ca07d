# ruff: noqa: INP001 - a script that make runs, not a package
"""List every package the service runs with as a CycloneDX bill of materials.

Reads ``requirements.txt``: names, versions, hashes.  Needs no network.  The same pins make the same
bytes.

    python tools/sbom.py > sbom.cdx.json
"""

from __future__ import annotations

import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NAMESPACE = uuid.UUID("3f0d9f3a-65a4-4b43-9a77-0d6f0f1f2f6e")
_NO_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def packages(requirements: str) -> Iterator[Component]:
    """Return the pinned packages of a hashed requirements file."""
    for block in re.split(r"\n(?=[A-Za-z0-9])", requirements):
        found = _PIN.match(block)
        if found is None:
            continue
        name, version = found[1].lower(), found[2]
        url = PackageURL(type="pypi", name=name, version=version)
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=str(url),
            purl=url,
            hashes=[
                HashType(alg=HashAlgorithm.SHA_256, content=each) for each in _HASH.findall(block)
            ],
        )


def bill(root: Path) -> str:
    """Return the bill of materials of the project at *root* as CycloneDX 1.6 JSON."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = (root / "requirements.txt").read_text(encoding="utf-8")
    service = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref=project["name"],
    )
    bom = Bom(components=packages(requirements), serial_number=uuid.uuid5(_NAMESPACE, requirements))
    bom.metadata.component = service
    bom.metadata.timestamp = _NO_TIME
    bom.register_dependency(service, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2)


if __name__ == "__main__":
    sys.stdout.write(bill(ROOT) + "\n")
