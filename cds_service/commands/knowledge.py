"""``cds-service knowledge``: what changed in the clinical content, and for which patients."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import click

from cds_service.commands.manners import clear_errors, examples
from cds_service.errors import SettingsError
from cds_service.knowledge.comparing import Change, changes
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.places import knowledge_at
from cds_service.vignettes.cases import read_folder
from cds_service.vignettes.comparing import ChangedAnswer, changed_answers

_SHARED = "shared"


@click.group(
    short_help="What changed in the clinical content.",
    epilog=examples("cds-service knowledge diff main cards --cases tests/vignettes"),
)
def knowledge() -> None:
    """Look at the clinical content as a whole."""


@knowledge.command(
    short_help="Say in words what changed, and which cases answer differently.",
    epilog=examples(
        "cds-service knowledge diff main cards",
        "cds-service knowledge diff cards /etc/cds/our-cards --cases tests/vignettes",
        "cds-service knowledge diff --format json old/cards new/cards",
    ),
)
@click.argument("old")
@click.argument("new")
@click.option(
    "--cases",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with vignettes; those that are answered differently are listed.",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print.",
)
@clear_errors
def diff(old: str, new: str, cases: Path | None, output: str) -> None:
    """Say in words what differs between the clinical content OLD and NEW.

    Each is a folder laid out like cards/, a site's own folder (laid over ours), or a revision of
    the git checkout in the current folder. The rules themselves are those of this program.
    """
    before, after = knowledge_at(old), knowledge_at(new)
    found = changes(before, after)
    vignettes = read_folder(cases) if cases else ()
    if cases and not vignettes:
        raise SettingsError(f"--cases {cases}: the folder holds no case. Name tests/vignettes.")
    answers = tuple(changed_answers(vignettes, before, after))
    if output == "json":
        click.echo(_as_json(before, after, found, answers))
        return
    click.echo(f"Old: version {before.version}, digest {before.digest[:12]}")
    click.echo(f"New: version {after.version}, digest {after.digest[:12]}\n")
    click.echo("\n".join(change_lines(found)) or "The content says the same.")
    if cases:
        click.echo()
        click.echo("\n".join(_answer_lines(answers, len(vignettes))))


def change_lines(found: Iterable[Change]) -> list[str]:
    """Return each thing that changed, and below it how."""
    lines: list[str] = []
    for (kind, name, title), group in groupby(
        found, key=lambda change: (change.kind, change.id, change.title)
    ):
        subject = name.replace("_", " ") if kind == _SHARED else f"{kind} {name} ({title})"
        lines += [subject, *(f"  {change.sentence}" for change in group)]
    return lines


def _answer_lines(answers: Sequence[ChangedAnswer], total: int) -> list[str]:
    if not answers:
        return [f"All {total} made-up patients are answered as before."]
    lines = [f"{len(answers)} of {total} made-up patients are answered differently:"]
    for answer in answers:
        lines += [answer.title, *(f"  {difference}" for difference in answer.differences)]
    return lines


def _as_json(
    before: Knowledge,
    after: Knowledge,
    found: Iterable[Change],
    answers: Iterable[ChangedAnswer],
) -> str:
    document = {
        "old": {"version": before.version, "digest": before.digest},
        "new": {"version": after.version, "digest": after.digest},
        "changes": [
            {
                "kind": change.kind,
                "id": change.id,
                "what": change.what,
                "before": change.before,
                "after": change.after,
            }
            for change in found
        ],
        "answers": [
            {"case": answer.title, "differences": list(answer.differences)} for answer in answers
        ],
    }
    return json.dumps(document, indent=2)
