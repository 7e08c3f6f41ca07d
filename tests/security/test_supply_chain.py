"""Every package is pinned and hashed, and the bill of materials lists them all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("requirements.txt", "requirements-dev.txt", "requirements-build.txt")


def _blocks(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [block for block in re.split(r"\n(?=\S)", text) if re.match(r"[A-Za-z0-9]", block)]


@pytest.mark.parametrize("name", FILES)
def test_every_package_is_pinned_and_hashed(name: str) -> None:
    """No version and no file of a package is left to chance."""
    blocks = _blocks(name)
    assert blocks
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?==[^ ]+", block), block
        assert "--hash=sha256:" in block, block


def test_bill_of_materials_lists_every_package_with_its_hashes() -> None:
    """The bill names what requirements.txt pins, and the same pins make the same bytes."""
    command = [sys.executable, str(ROOT / "tools" / "sbom.py")]
    first, second = (
        subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - our program
        for _ in range(2)
    )
    assert first == second
    bill = json.loads(first)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = {f"{part['name']}=={part['version']}": part for part in bill["components"]}
    pinned = {re.split(r"[ ;\\]", re.sub(r"\[.*?\]", "", block))[0] for block in _blocks(FILES[0])}
    assert set(listed) == pinned
    assert all(part["hashes"] and part["purl"] for part in listed.values())
