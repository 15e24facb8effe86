"""A gauge that several processes share says how they add up; else each shows its own."""

import ast
from pathlib import Path

import gateway

SOURCES = sorted(Path(gateway.__file__).parent.rglob("*.py"))


def gauges(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text())
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Gauge"
    ]


def test_every_gauge_of_the_gateway_says_how_processes_add_up() -> None:
    found = [(path, call) for path in SOURCES for call in gauges(path)]
    silent = [
        f"{path.name}:{call.lineno}"
        for path, call in found
        if "multiprocess_mode" not in {keyword.arg for keyword in call.keywords}
    ]
    assert len(found) > 5
    assert silent == []
