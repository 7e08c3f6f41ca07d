"""One CSV file of a site, row by row, with faults that name line and column.

Commas or semicolons; UTF-8 with or without a byte order mark, as spreadsheet programs write it.
Empty lines and lines that begin with # are skipped.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cds_service.errors import SettingsError

LARGEST_FILE = 4_194_304
"""Bytes of one CSV file of a site."""

_SYSTEM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}:[^\s|,;$\\{}<>\"]{1,240}")
_LONGEST_CODE = 128
_CODE = re.compile(r"[^\s,|;$\\{}<>\"]+( [^\s,|;$\\{}<>\"]+)*")
_SHORTENED = re.compile(r"\d([.,]\d+)?E\+\d\d")
"""A long number as a spreadsheet program shows and saves it: 4.1E+10, or 4,1E+10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: ``longest`` in characters; one that is not required may be missing."""

    name: str
    longest: int
    is_required: bool = True
    may_be_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the file: the cells by column name, without blanks around them."""

    file: str
    line: int
    cells: Mapping[str, str]

    def fault(self, column: str, what: str, todo: str) -> SettingsError:
        """Return the error for one cell of this line."""
        return SettingsError(f"{self.file}, line {self.line}, column {column}: {what} {todo}")


def read_rows(file: str, content: bytes, columns: tuple[Column, ...]) -> tuple[Row, ...]:
    """Return the rows of *content*; *file* is the name used in faults.

    Raises:
        SettingsError: It is not UTF-8, the header is wrong, or a cell is missing or too long.
    """
    if len(content) > LARGEST_FILE:
        raise SettingsError(f"{file}: it is larger than 4 MB. Check its name.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: it is not UTF-8. Save it as 'CSV UTF-8'.") from None
    lines = _lines(file, text)
    header_line, header = next(lines, (1, []))
    _check_header(file, header_line, header, columns)
    return tuple(_row(file, number, header, cells, columns) for number, cells in lines)


def check_code(row: Row) -> tuple[str, str]:
    """Return system and code of *row*.

    Raises:
        SettingsError: The system is no URI, or the code has signs a search cannot carry, or is a
            number that a spreadsheet program has shortened.
    """
    system, code = row.cells["system"], row.cells["code"]
    if not _SYSTEM.fullmatch(system):
        raise row.fault(
            "system",
            "this is not the URI of a code system.",
            "Write it as the EHR sends it, for example urn:oid:1.2.3 or https://host/codes.",
        )
    if _SHORTENED.fullmatch(code):
        raise row.fault(
            "code",
            "a spreadsheet program has shortened this number, and its last digits are lost.",
            "Give the column the format Text, write the code again, and save the file.",
        )
    if len(code) > _LONGEST_CODE or not _CODE.fullmatch(code):
        raise row.fault(
            "code",
            'a code is at most 128 signs, none of them , | ; $ \\ { } < > ", with single blanks.',
            "Write the code as the EHR sends it.",
        )
    return system, code


def _lines(file: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each line that says something."""
    first = next((line for line in text.splitlines() if line.strip(" ;,") and line[0] != "#"), "")
    separator = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped) and not stripped[0].startswith("#"):
                yield reader.line_num, stripped
    except csv.Error:
        raise SettingsError(
            f"{file}, line {reader.line_num}: the quotation marks do not match. "
            "Put a cell that holds a comma in quotation marks, and double those inside it."
        ) from None


def _check_header(file: str, line: int, header: list[str], columns: tuple[Column, ...]) -> None:
    known = [column.name for column in columns]
    where = f"{file}, line {line}"
    missing = next((c.name for c in columns if c.is_required and c.name not in header), None)
    if missing is not None:
        raise SettingsError(
            f"{where}: the column '{missing}' is missing. The first line names the columns, in "
            f"small letters, with commas or semicolons between them: {','.join(known)}."
        )
    unknown = next((name for name in header if name not in known), None)
    if unknown is not None:
        raise SettingsError(
            f"{where}: the column '{unknown[:40]}' is not known. The columns are: "
            f"{','.join(known)}."
        )
    if len(set(header)) < len(header):
        raise SettingsError(f"{where}: a column is named twice. Keep one of them.")


def _row(
    file: str, line: int, header: list[str], cells: list[str], columns: tuple[Column, ...]
) -> Row:
    if len(cells) > len(header) and any(cells[len(header) :]):
        raise SettingsError(
            f"{file}, line {line}: there are more cells than columns. "
            "Put a cell that holds a comma in quotation marks."
        )
    row = Row(file=file, line=line, cells=dict.fromkeys((c.name for c in columns), ""))
    found = {**row.cells, **dict(zip(header, cells, strict=False))}
    row = Row(file=file, line=line, cells=found)
    for column in columns:
        cell = found[column.name]
        if column.is_required and not column.may_be_empty and not cell:
            raise row.fault(column.name, "the cell is empty.", "Fill it in.")
        if len(cell) > column.longest or not cell.isprintable() or "<" in cell or ">" in cell:
            raise row.fault(
                column.name,
                f"the text is longer than {column.longest} characters, or not plain text.",
                "Shorten it, on one line, without < and >.",
            )
    return row
