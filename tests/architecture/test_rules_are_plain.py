"""Numbers, codes, clocks and files live where they belong, and nowhere in the clinical core."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cds_service"
RULES = sorted((PACKAGE / "evaluation" / "rules").glob("*.py"))
CORE = sorted((PACKAGE / "evaluation").rglob("*.py"))
PURE = [
    *CORE,
    *sorted((PACKAGE / "chart").rglob("*.py")),
    *sorted((PACKAGE / "rendering").rglob("*.py")),
    *sorted((PACKAGE / "fhir").glob("reading*.py")),
    PACKAGE / "knowledge" / "model.py",
    PACKAGE / "values.py",
    PACKAGE / "errors.py",
]
EVERYTHING = sorted(PACKAGE.rglob("*.py"))
BANNED_NAMES = {"utils", "helpers", "manager", "data", "info", "process", "handle", "misc"}
BANNED_IMPORTS = {
    "os",
    "time",
    "random",
    "socket",
    "requests",
    "flask",
    "yaml",
    "structlog",
    "logging",
}
OTHER_ROOMS = {"web", "fhir", "hooks", "rendering", "trust", "app", "settings", "cli"}
CLOCK_CALLS = {"now", "utcnow", "today"}
IMPOSED_NAMES = {
    "DataNotAvailableError",  # the name of the refusal in the contract with EHRs
    "_data_read",  # the card DATA-READ
    "handle",  # gunicorn calls it so
    "handle_error",  # as above
    "init_process",  # as above
    "process_environment",  # a process of the operating system
    "service_process",  # as above
}
LOOKS_LIKE_A_CODE = re.compile(
    r"^(?:\d{5,18}|\d{1,5}-\d|[A-TV-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})|[0-9A-Z]{7}(?<=Z{2}))$"
)


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _docstrings(tree: ast.AST) -> set[int]:
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _numbers(tree: ast.AST) -> Iterator[tuple[int, float]]:
    for node in ast.walk(tree):
        is_number = isinstance(node, ast.Constant) and type(node.value) in {int, float}
        if is_number and node.value not in {0, 1}:
            yield node.lineno, node.value


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_architecture_tests_see_the_files() -> None:
    """The files these tests are about are found, so that none of them passes on nothing."""
    assert len(RULES) > 10
    assert len(CORE) > len(RULES)
    assert all(path.is_file() for path in PURE)


@pytest.mark.parametrize("path", RULES, ids=_name)
def test_rule_holds_no_number(path: Path) -> None:
    """Every clinical number is a threshold in cards/, never a number in a rule."""
    assert list(_numbers(_tree(path))) == []


@pytest.mark.parametrize("path", CORE, ids=_name)
def test_core_holds_no_code(path: Path) -> None:
    """Every code of a code system is in a value set in cards/, never in the clinical core."""
    tree = _tree(path)
    prose = _docstrings(tree)
    codes = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and id(node) not in prose
        if isinstance(node.value, str) and LOOKS_LIKE_A_CODE.match(node.value)
    ]
    assert codes == []


@pytest.mark.parametrize("code", ["27151001", "M96.1", "24967-2", "63030", "0SB20ZZ"])
def test_code_is_recognised_as_one(code: str) -> None:
    """The search for codes knows what codes look like."""
    assert LOOKS_LIKE_A_CODE.match(code)


@pytest.mark.parametrize("path", CORE, ids=_name)
def test_core_imports_no_other_room(path: Path) -> None:
    """The clinical core knows nothing of FHIR, hooks, cards' layout or who asks."""
    rooms = {
        module.split(".")[1]
        for module in _imports(_tree(path))
        if module.startswith("cds_service.")
    }
    assert rooms & OTHER_ROOMS == set()


@pytest.mark.parametrize("path", PURE, ids=_name)
def test_pure_room_reads_no_clock_file_or_network(path: Path) -> None:
    """What takes values and returns values reads nothing else."""
    tree = _tree(path)
    modules = {module.split(".")[0] for module in _imports(tree)}
    assert modules & BANNED_IMPORTS == set()
    calls = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert calls & CLOCK_CALLS == set()
    names = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert names & {"open", "print", "input"} == set()


def _public(tree: ast.Module) -> Iterator[ast.AST]:
    yield tree
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    child
                    for child in node.body
                    if isinstance(child, kinds) and not child.name.startswith("_")
                )


def _is_override(node: ast.AST) -> bool:
    return any(
        ast.unparse(each).endswith("override") for each in getattr(node, "decorator_list", ())
    )


@pytest.mark.parametrize("path", EVERYTHING, ids=_name)
def test_public_thing_explains_itself(path: Path) -> None:
    """Every public module, class and function says in a sentence what it is."""
    if not path.read_text(encoding="utf-8").strip():
        return
    silent = [
        getattr(node, "name", "the module")
        for node in _public(_tree(path))
        if not _is_override(node) and not ast.get_docstring(node)  # type: ignore[arg-type]
    ]
    assert silent == []


@pytest.mark.parametrize("path", EVERYTHING, ids=_name)
def test_name_says_what_it_is(path: Path) -> None:
    """No module, class or function hides behind a word that fits everything."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = [path.stem, *(node.name for node in ast.walk(_tree(path)) if isinstance(node, kinds))]
    words = {
        word.lower()
        for name in names
        if name not in IMPOSED_NAMES
        for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    }
    assert words & BANNED_NAMES == set()
