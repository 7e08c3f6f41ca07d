"""The example alert rules and dashboard name only metrics and labels the service really has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ALERTS = EXAMPLES / "prometheus-alerts.yaml"
DASHBOARD = EXAMPLES / "grafana-dashboard.json"
WORDS = frozenset(
    {"by", "sum", "rate", "max", "min", "count", "increase", "histogram_quantile", "ignoring"}
    | {"absent", "group_left", "label_values", "max_over_time"}
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_DURATION = re.compile(r"\[[^\]]*\]")


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    """Return every PromQL expression of both examples."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    variables = [each["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    return [rule["expr"] for rule in rules()] + [each["expr"] for each in targets] + variables


def names(query: str) -> Iterator[str]:
    """Yield the names in *query* that are no words of the language."""
    bare = _DURATION.sub("", _STRING.sub("", query)).replace("$client", "")
    yield from (name for name in _NAME.findall(bare) if name not in WORDS)


def is_balanced(query: str) -> bool:
    """Whether every bracket is closed by its kind."""
    closes, is_open = {")": "(", "}": "{", "]": "["}, []
    for sign in _STRING.sub("", query):
        if sign in closes.values():
            is_open.append(sign)
        elif sign in closes and (not is_open or is_open.pop() != closes[sign]):
            return False
    return not is_open


@pytest.fixture(scope="module")
def exposed(everything: str) -> tuple[set[str], set[str]]:
    """Return the names of all series of a service that has seen everything, and their labels."""
    series, labels = set(), {"le"}
    for line in everything.splitlines():
        if not line.startswith("#"):
            series.add(re.split(r"[{ ]", line)[0])
            labels |= set(re.findall(r'(\w+)="', line))
    return series, labels


@pytest.mark.parametrize("query", queries())
def test_query_names_only_what_is_there(query: str, exposed: tuple[set[str], set[str]]) -> None:
    """No alert waits for a metric that does not exist."""
    series, labels = exposed
    assert is_balanced(query)
    metrics = [name for name in names(query) if name.startswith("cds_")]
    assert metrics
    assert set(metrics) <= series
    assert set(names(query)) - set(metrics) <= labels


def test_every_family_of_metrics_is_on_the_dashboard(exposed: tuple[set[str], set[str]]) -> None:
    """What is worth counting is worth seeing, but for sizes and versions."""
    shown = {name for query in queries() for name in names(query) if name.startswith("cds_")}
    ending = r"_(total|bucket|count|sum|seen|expected)$"
    families = {re.sub(ending, "", each) for each in exposed[0]}
    seen = {re.sub(ending, "", each) for each in shown}
    unseen = {each for each in families - seen if each.startswith("cds_")}
    assert unseen == {
        "cds_build_info",
        "cds_fhir_bytes",
        "cds_fhir_pages",
        "cds_fhir_parts",
        "cds_ledger_snoozes_unread",
    }


def test_alert_rules_are_whole() -> None:
    """Each rule has a name of its own, an urgency, and words for whoever is woken."""
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"[A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith((".", "}}"))
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))


def test_service_that_is_gone_raises_an_alert() -> None:
    """Every other rule is quiet when there are no metrics at all."""
    assert [rule["alert"] for rule in rules() if rule["expr"].startswith("absent(")] == [
        "CdsNoService"
    ]


def test_server_that_fails_again_after_each_pause_raises_its_alert() -> None:
    """Between two pauses the number is 0, so an alert that wants more at each look never comes."""
    (paused,) = [rule["expr"] for rule in rules() if "paused" in rule["expr"]]
    assert "max_over_time(cds_fhir_paused_processes[2m])" in paused


def test_dashboard_panels_do_not_overlap() -> None:
    """Every panel has its own place in the grid and its own number."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
