"""Imports go one way: what docs/architecture.md says of the floors holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import dbgemu

ROOT = Path(dbgemu.__file__).parent

#: what each floor may import of ours, beside itself
BELOW = {
    "errors": set(),
    "target": {"errors"},
    "engine": {"target"},
    "machine": {"engine", "target"},
    "host": {"errors", "target"},
    "debug": {"errors", "machine", "engine", "target"},
    "tool_program": {"errors"},
    "trace": {"errors", "tool_program", "debug", "machine", "engine", "target"},
    "monitor": {"errors", "trace", "debug", "machine", "engine", "target", "host"},
    "gdbstub": {"errors", "debug", "machine", "engine", "target"},
    "demo": {"errors", "target"},
    "image": {"errors", "tool_program", "debug", "target", "host"},
}


def floor_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(("dbgemu", *path.relative_to(ROOT).with_suffix("").parts))
        yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_floor_imports_one_above_it() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, tree in modules()
        if floor_of(module) in BELOW
        for imported in imports(tree)
        if imported.startswith("dbgemu.")
        and floor_of(imported) not in {floor_of(module), *BELOW[floor_of(module)]}
        and imported != "dbgemu.engine"
    ]
    assert wrong == []


def test_a_device_knows_neither_board_nor_cpu() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, tree in modules()
        if module.startswith(("dbgemu.target.s3c2440.", "dbgemu.target.chips."))
        for imported in imports(tree)
        if imported.startswith(("dbgemu.target.mini2440", "dbgemu.target.arm"))
    ]
    assert wrong == []


def test_no_module_has_two_subjects() -> None:
    long = {str(path): len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {path: lines for path, lines in long.items() if lines > 600} == {}
