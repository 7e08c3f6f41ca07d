"""The commands for a site's own codes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cds_service.cli import main

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PREFERENCE = "urn:com.epic.cdshooks.action.code.system.preference-list-item"
CANARY = "CanaryShaw"


def run(*arguments: str | Path) -> Result:
    """Run the command with *arguments*."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def lakeside(tmp_path: Path) -> Path:
    """Return the configuration of the made-up hospital, with its lists beside it."""
    for path in EXAMPLES.glob("lakeside*"):
        text = path.read_text(encoding="utf-8").replace("/etc/cds-service/", "")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    (tmp_path / "identity.key").write_text("0123456789abcdef" * 4)
    return tmp_path / "lakeside.toml"


def test_check_shows_each_order_with_its_local_code(lakeside: Path) -> None:
    """The table names what is mapped and what will be words, and the exit code says so."""
    result = run("orders", "check", "--config", lakeside, "--client", "lakeside")
    assert result.exit_code == 1
    assert "41001  MR L-SPINE W/WO CONTRAST (MAIN)" in result.stdout
    assert (
        f"41002  MR L-SPINE W/WO CONTRAST (NORTH)  ({PREFERENCE})  -> mri-lumbar\n" in result.stdout
    )
    assert re.search(r"52001  INFLAMMATION PANEL  \(\S+\)\n", result.stdout)
    assert "scs-evaluation-referral               no local code: shown as text" in result.stdout
    assert "16 of 17 orders have a local code." in result.stdout
    assert "requires local codes" in result.stderr


def test_check_is_content_when_every_order_has_a_code(lakeside: Path) -> None:
    """With the last line filled in, the exit code is 0."""
    orders = lakeside.parent / "lakeside-orders.csv"
    line = f"scs-evaluation-referral,{PREFERENCE},63006,AMB REF TO NEUROMODULATION,"
    orders.write_text(orders.read_text().replace("scs-evaluation-referral,,,,", line))
    result = run("orders", "check", "--config", lakeside, "--client", "lakeside")
    assert (result.exit_code, result.stderr) == (0, "")


def test_check_is_content_where_standard_codes_are_taken(lakeside: Path) -> None:
    """A client that needs no local codes may lack all of them."""
    text = lakeside.read_text().replace('order_catalogue = "lakeside-orders.csv"\n', "")
    lakeside.write_text(text.replace('dialect = "epic"', 'dialect = "generic"'))
    result = run("orders", "check", "--config", lakeside, "--client", "lakeside")
    assert result.exit_code == 0
    assert result.stdout.count("no local code: standard codes are sent") == 17


def test_unknown_client_and_concept_are_usage_errors(lakeside: Path) -> None:
    """The text names the clients there are, or the line and the nearest concept."""
    result = run("orders", "check", "--config", lakeside, "--client", "lake")
    assert result.exit_code == 2
    assert "there is no client 'lake'. The clients are: lakeside." in result.stderr
    orders = lakeside.parent / "lakeside-orders.csv"
    orders.write_text(orders.read_text().replace("\nesr,", "\nesrr,"))
    result = run("orders", "check", "--config", lakeside, "--client", "lakeside")
    assert result.exit_code == 2
    assert "column concept: 'esrr' is no order of this service. Did you mean" in result.stderr


def test_check_refuses_a_code_that_the_charts_use_for_something_else(lakeside: Path) -> None:
    """The analyst hears of it before the service is started."""
    codes = lakeside.parent / "lakeside-codes.csv"
    codes.write_text(f"{codes.read_text()}{PREFERENCE},41003,emg,,\n")
    result = run("orders", "check", "--config", lakeside, "--client", "lakeside")
    assert result.exit_code == 2
    assert "lakeside-orders.csv, line 5, column code: this code orders" in result.stderr


def test_check_of_charts_knows_the_codes_of_the_order_list(lakeside: Path, tmp_path: Path) -> None:
    """An order under the hospital's own code is no unknown code."""
    path = tmp_path / "chart.json"
    path.write_text(json.dumps(coded("ServiceRequest", PREFERENCE, "41003")))
    result = run("codes", "check", "--config", lakeside, "--client", "lakeside", path)
    assert f"ServiceRequest  {PREFERENCE}|41003  -> mri-lumbar" in result.stdout


def test_template_becomes_a_list_that_loads(lakeside: Path) -> None:
    """What the command writes is what the service reads."""
    result = run("orders", "template")
    assert result.exit_code == 0
    (lakeside.parent / "lakeside-orders.csv").write_text(result.stdout)
    check = run("orders", "check", "--config", lakeside, "--client", "lakeside")
    assert "0 of 17 orders have a local code." in check.stdout


def test_concept_map_becomes_a_list(tmp_path: Path) -> None:
    """The list goes to standard output, the remark on what was left out does not."""
    elements = [
        {"code": code, "target": [{"code": "7", "display": "LOCAL", "equivalence": "equal"}]}
        for code in ("24967-2", "8302-2")
    ]
    group = {"source": "http://loinc.org", "target": PREFERENCE, "element": elements}
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"resourceType": "ConceptMap", "group": [group]}))
    result = run("orders", "import", path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "concept,system,code,display,instructions",
        f"mri-lumbar-without-and-with-contrast,{PREFERENCE},7,LOCAL,",
    ]
    left_out = "Left out: 1 codes that are no order of ours.\n    http://loinc.org|8302-2\n"
    assert result.stderr == left_out
    path.write_text("{}")
    assert run("orders", "import", path).exit_code == 2


def test_import_names_the_first_of_many_codes_it_left_out(tmp_path: Path) -> None:
    """The analyst finds a misspelt code; a whole catalogue does not fill the screen."""
    target = [{"code": "7", "display": "LOCAL", "equivalence": "equal"}]
    codes = ("24967-2", *(f"{n}-0" for n in range(1000, 1025)))
    elements = [{"code": code, "target": target} for code in codes]
    group = {"source": "http://loinc.org", "target": PREFERENCE, "element": elements}
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"resourceType": "ConceptMap", "group": [group]}))
    lines = run("orders", "import", path).stderr.splitlines()
    assert lines[0] == "Left out: 25 codes that are no order of ours."
    assert lines[20:] == ["    http://loinc.org|1019-0", "    and 5 more"]


def test_queries_are_printed_as_the_client_needs_them(lakeside: Path) -> None:
    """The analyst of an EHR that reads no discovery copies them from here."""
    result = run("codes", "queries", "--config", lakeside, "--client", "lakeside")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[lines.index("user") + 1].strip() == "{{context.userId}}"
    assert "urn:oid:2.999.7.1|100201" in lines[lines.index("scores") + 1]
    assert lines[lines.index("procedures") + 1].strip().startswith("Procedure?patient=")


def coded(kind: str, system: str, code: str, **more: object) -> dict[str, object]:
    """Return a resource that names its patient and holds values nobody may see."""
    return {
        "resourceType": kind,
        "id": CANARY,
        "code": {"coding": [{"system": system, "code": code, "display": CANARY}], "text": CANARY},
        "subject": {"reference": f"Patient/{CANARY}", "display": CANARY},
        **more,
    }


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    """Return a folder with a Bundle, a list of resources line by line, and other files."""
    folder = tmp_path / "charts"
    (folder / "more").mkdir(parents=True)
    flowsheet = "urn:oid:2.999.7.1"
    row = coded(
        "Observation",
        flowsheet,
        "100530",
        valueCodeableConcept={"coding": [{"system": "urn:oid:2.999.7.2", "code": "R"}]},
        component=[{"code": {"coding": [{"system": "urn:oid:2.999.7.1", "code": "55"}]}}],
    )
    entries: list[dict[str, object]] = [
        {"resource": row},
        {"resource": coded("Procedure", "urn:oid:2.999.7.3", "OR-LAMI-L")},
        {"resource": {"resourceType": "Patient", "id": CANARY, "name": [{"text": CANARY}]}},
        {"resource": {"resourceType": "Bundle", "entry": [{"resource": row}]}},
        {"resource": None},
    ]
    (folder / "one.json").write_text(json.dumps({"resourceType": "Bundle", "entry": entries}))
    lines = [
        coded("Observation", "http://loinc.org", "8302-2"),
        coded("Observation", "http://loinc.org", "8302-2", valueInteger=1),
        {"resourceType": "Condition", "code": {"text": CANARY}},
        coded("Condition", CANARY, f"{CANARY} and more words", contained=[row]),
    ]
    (folder / "more" / "two.ndjson").write_text("\n\n".join(json.dumps(line) for line in lines))
    (folder / "read-me.txt").write_text(CANARY)
    return folder


def test_check_of_charts_counts_codes_and_tells_nothing_of_patients(
    lakeside: Path, charts: Path
) -> None:
    """Known codes with their concepts, unknown ones with counts, words only, unused lines."""
    result = run("codes", "check", "--config", lakeside, "--client", "lakeside", charts)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "2 files." in lines
    assert "3 Observation urn:oid:2.999.7.1|100530 -> saddle-sensation" in lines
    assert "3 Observation urn:oid:2.999.7.2|R -> answer-reduced" in lines
    assert "1 Procedure urn:oid:2.999.7.3|OR-LAMI-L -> decompression" in lines
    assert "2 Observation http://loinc.org|8302-2" in lines
    assert "3 Observation urn:oid:2.999.7.1|55" in lines
    assert "1 Condition (no URI)|(not a code)" in lines
    assert "Entries with words only, which are not read: 1" in lines
    assert "Lines of the code map whose code is not in these charts: 20" in lines
    assert CANARY not in result.output


def test_long_reports_are_cut_unless_all_is_wanted(lakeside: Path, tmp_path: Path) -> None:
    """Fifty codes are enough to begin with; the rest is counted."""
    path = tmp_path / "many.ndjson"
    rows = [coded("Observation", "http://loinc.org", f"{n}-0") for n in range(1000, 1060)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    arguments = ("codes", "check", "--config", lakeside, "--client", "lakeside", path)
    assert "and 10 more; --all prints them." in run(*arguments).stdout
    assert "1059-0" in run(*arguments, "--all").stdout


def test_file_that_is_not_json_is_named_with_its_line(lakeside: Path, tmp_path: Path) -> None:
    """The operator finds the line; the line itself is not printed."""
    path = tmp_path / "broken.ndjson"
    path.write_text(f'{{"resourceType": "Patient"}}\n{{"{CANARY}')
    result = run("codes", "check", "--config", lakeside, "--client", "lakeside", path)
    assert result.exit_code == 1
    assert "broken.ndjson, line 2: this is not JSON." in result.stderr
    assert CANARY not in result.output


@pytest.mark.parametrize("place", ["one.json", "more"])
def test_chart_that_cannot_be_read_is_named(
    lakeside: Path, charts: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the counts would be too low, and nobody told; root reads all, so it is feigned."""
    read, look = Path.read_bytes, os.scandir

    def no_file(path: Path) -> bytes:
        if path.name == place:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    def no_folder(folder: str) -> object:
        if os.fspath(folder).endswith(place):
            raise PermissionError(13, "Permission denied", os.fspath(folder))
        return look(folder)

    monkeypatch.setattr(Path, "read_bytes", no_file)
    monkeypatch.setattr(os, "scandir", no_folder)
    result = run("codes", "check", "--config", lakeside, "--client", "lakeside", charts)
    assert result.exit_code == 1
    assert f"{place}: this cannot be read (Permission denied)." in result.stderr


def test_chart_with_a_byte_order_mark_is_read(lakeside: Path, tmp_path: Path) -> None:
    """Windows programs write one; the same chart without it counts the same."""
    path = tmp_path / "chart.json"
    row = coded("Observation", "urn:oid:2.999.7.1", "100530")
    path.write_text(json.dumps(row), encoding="utf-8-sig")
    result = run("codes", "check", "--config", lakeside, "--client", "lakeside", path)
    assert "100530  -> saddle-sensation" in result.stdout


def test_side_in_an_extension_of_a_code_is_met(lakeside: Path, tmp_path: Path) -> None:
    """A German hospital's line for "links" is not called unused where its charts say it."""
    sides = "https://fhir.kbv.de/CodeSystem/KBV_CS_SFHIR_ICD_SEITENLOKALISATION"
    codes = lakeside.parent / "lakeside-codes.csv"
    codes.write_text(f"{codes.read_text()}{sides},L,side-left,,\n{sides},R,side-right,,\n")
    operation = coded("Procedure", "urn:oid:2.999.7.3", "OR-LAMI-L")
    of_side = {
        "url": "http://fhir.de/StructureDefinition/seitenlokalisation",
        "valueCoding": {"system": sides, "code": "L"},
    }
    operation["code"] = {
        "coding": [{"system": "urn:oid:2.999.7.3", "code": "OR-LAMI-L", "extension": [of_side]}]
    }
    path = tmp_path / "chart.json"
    path.write_text(json.dumps(operation))
    result = run("codes", "check", "--config", lakeside, "--client", "lakeside", path)
    assert f"Procedure  {sides}|L  -> side-left" in result.stdout
    assert ": L (side-left)" not in result.stdout
    assert ": R (side-right)" in result.stdout


def test_bad_mapping_stops_the_check_with_its_line(lakeside: Path, charts: Path) -> None:
    """A misspelt concept is refused before anything is counted."""
    codes = lakeside.parent / "lakeside-codes.csv"
    codes.write_text(codes.read_text().replace(",odi,", ",oddi,"))
    result = run("codes", "check", "--config", lakeside, "--client", "lakeside", charts)
    assert result.exit_code == 2
    assert "column concept: 'oddi' is no concept" in result.stderr
