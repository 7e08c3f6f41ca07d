"""How is ``cards/clinical-drugs.csv`` read: the drugs of RxNorm and what is in them?

A table of its own form, because it is long and every line says the same few things.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from decimal import Decimal

from cds_service.errors import KnowledgeError
from cds_service.knowledge.documents import Document
from cds_service.knowledge.model import ClinicalDrug

FILE = "clinical-drugs.csv"
_COLUMNS = ["rxnorm", "ingredients", "strength", "name"]
_OTHER = "other"
_CODE = re.compile(r"[1-9][0-9]{0,7}")
_INJECTED = re.compile(
    r"\b(?:Injection|Injectable|Prefilled Syringe|Cartridge|Auto-Injector|Drug Implant)\b"
)
"""Forms of a drug as RxNorm writes them in its name."""
_STRENGTH = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")


def read_drugs(document: Document) -> dict[str, ClinicalDrug]:
    """Return the drugs of the file by their RxNorm code.

    Raises:
        KnowledgeError: A line is not of the form the file's first lines explain.
    """
    drugs: dict[str, ClinicalDrug] = {}
    for line, cells in _lines(document):
        where = f"{document.name}, line {line}"
        if len(cells) != len(_COLUMNS) or not all((cells[0], cells[1], cells[3])):
            raise KnowledgeError(
                f"{where}: a line has the cells {', '.join(_COLUMNS)}; only strength may be empty. "
                "Fill in the others."
            )
        code, ingredients, strength, name = cells
        if code in drugs:
            raise KnowledgeError(f"{where}: {code} is written twice. Keep one of the two lines.")
        drugs[code] = _drug(where, code, ingredients.split(), strength, name)
    return drugs


def _lines(document: Document) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each line below the header."""
    try:
        text = document.text.decode()
    except UnicodeDecodeError:
        raise KnowledgeError(f"{document.name}: it is not UTF-8. Save it as UTF-8.") from None
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line and not line.startswith("#")
    ]
    cells = csv.reader(line for _, line in numbered)
    if next(cells, None) != _COLUMNS:
        raise KnowledgeError(
            f"{document.name}: the first line must be {','.join(_COLUMNS)}. Put it back."
        )
    for (number, _), row in zip(numbered[1:], cells, strict=True):
        yield number, row


def _drug(where: str, code: str, ingredients: list[str], strength: str, name: str) -> ClinicalDrug:
    known = tuple(each for each in ingredients if each != _OTHER)
    if not known or not all(map(_CODE.fullmatch, (code, *known))):
        raise KnowledgeError(
            f"{where}: a drug and its ingredients are RxNorm codes, numbers without signs, with "
            f"one blank between; '{_OTHER}' comes on top of at least one. Correct the line."
        )
    if strength and not _STRENGTH.fullmatch(strength):
        raise KnowledgeError(
            f"{where}: the strength '{strength[:20]}' is not a number of milligrams. "
            "Write it like 7.5, or leave it empty."
        )
    return ClinicalDrug(
        ingredients=known,
        holds_other=_OTHER in ingredients,
        strength=Decimal(strength) if strength else None,
        is_injected=_INJECTED.search(name) is not None,
    )
