"""``cds-service codes``: how well the codes of real charts are understood."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from cds_service.app import templates_for
from cds_service.commands.clients import client_of, client_options
from cds_service.commands.manners import clear_errors, examples
from cds_service.errors import RequestError
from cds_service.fhir.code_coverage import CodeName, Coverage
from cds_service.fhir.coding import Vocabulary
from cds_service.fhir.local_codes import check_local_codes

_SUFFIXES = (".json", ".ndjson", ".jsonl")
_SHOWN = 50
_CHART_FILE = click.Path(path_type=Path, exists=True)


@click.group(
    short_help="Local codes in charts: how well are they understood?",
    epilog=examples(
        "cds-service codes check --config clients.toml --client epic-main charts/",
        "cds-service codes check --config clients.toml --client epic-main --all a.json b.ndjson",
        "cds-service codes queries --config clients.toml --client epic-main",
    ),
)
def codes() -> None:
    """Give the local codes of a site's charts our concepts."""


@codes.command("check", short_help="Which codes of these charts are known?")
@client_options
@click.option(
    "--all", "shows_all", is_flag=True, help=f"Every code, not the {_SHOWN} most frequent."
)
@click.argument("charts", nargs=-1, required=True, type=_CHART_FILE)
@clear_errors
def check(config_file: Path, client_id: str, charts: tuple[Path, ...], *, shows_all: bool) -> None:
    """Count the codes in CHARTS: files or folders of FHIR JSON or NDJSON.

    Prints codes and counts only, nothing of a patient. A code that is in none of our concepts is
    often right so; look for those of the spine, pain, operations and examinations.
    """
    client, knowledge = client_of(config_file, client_id)
    check_local_codes(client.code_map, knowledge)
    vocabulary = Vocabulary(knowledge, client.code_map)
    coverage = Coverage()
    files = sorted(set(_files(charts)))
    for number, path in enumerate(files, 1):
        if number % 100 == 0:
            click.echo(f"{number} of {len(files)} files read ...", err=True)
        coverage.count(_resources(path), vocabulary)
    most = None if shows_all else _SHOWN
    click.echo(f"{len(files)} files.")
    _print_codes("Known codes", coverage.known, most, coverage.meanings)
    _print_codes("Codes in none of our concepts", coverage.unmapped, most)
    click.echo(f"\nEntries with words only, which are not read: {coverage.text_only.total()}")
    for kind, count in sorted(coverage.text_only.items()):
        click.echo(f"{count:>8}  {kind}")
    unused = [
        entry
        for entry in client.code_map.entries
        if not any((s, c) == (entry.system, entry.code) for _, s, c in coverage.known)
    ]
    if client.code_map.entries:
        click.echo(f"\nLines of the code map whose code is not in these charts: {len(unused)}")
        for entry in unused:
            click.echo(f"    line {entry.line}: {entry.code} ({entry.concept})")


@codes.command("queries", short_help="The prefetch queries of one client.")
@client_options
@clear_errors
def queries(config_file: Path, client_id: str) -> None:
    """Print the prefetch queries of one client, its local codes among them.

    For EHRs that do not read discovery (Epic): type each query there under its key.
    """
    client, knowledge = client_of(config_file, client_id)
    check_local_codes(client.code_map, knowledge)
    for key, query in templates_for(knowledge, client).items():
        click.echo(f"{key}\n    {query}")


def _print_codes(
    title: str,
    counts: Counter[CodeName],
    most: int | None,
    meanings: Mapping[CodeName, tuple[str, ...]] | None = None,
) -> None:
    click.echo(f"\n{title}: {len(counts)} codes, {counts.total()} times")
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]:
        kind, system, code = name
        words = f"  -> {', '.join(meanings[name])}" if meanings else ""
        click.echo(f"{count:>8}  {kind}  {system}|{code}{words}")
    if most is not None and len(counts) > most:
        click.echo(f"          and {len(counts) - most} more; --all prints them.")


def _files(charts: Iterable[Path]) -> Iterator[Path]:
    for path in charts:
        if path.is_dir():
            for folder, _, names in os.walk(path, onerror=_refuse_unreadable):
                found = (Path(folder, name) for name in names)
                yield from (each for each in found if each.suffix in _SUFFIXES and each.is_file())
        else:
            yield path


def _refuse_unreadable(error: OSError) -> NoReturn:
    """Refuse to count without a file or folder that cannot be read: numbers would be too low."""
    raise RequestError(
        f"{error.filename}: this cannot be read ({error.strerror}). See that you may read it."
    ) from None


def _resources(path: Path) -> Iterator[Mapping[str, object]]:
    """Yield the resources of one file: a Bundle, a resource, or one of either on each line."""
    try:
        content = path.read_bytes().removeprefix(BOM_UTF8)
    except OSError as error:
        _refuse_unreadable(error)
    texts = content.splitlines() if path.suffix in {".ndjson", ".jsonl"} else [content]
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            found = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RequestError(
                f"{path}, line {number if len(texts) > 1 else 1}: this is not JSON. Give FHIR "
                "resources or Bundles in JSON, or NDJSON with the ending .ndjson."
            ) from None
        yield from _unbundled(found)


def _unbundled(found: Any) -> Iterator[Mapping[str, object]]:  # noqa: ANN401 - any JSON value
    if not isinstance(found, dict):
        return
    if found.get("resourceType") != "Bundle":
        yield found
        return
    entries = found.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield from _unbundled(entry.get("resource"))
