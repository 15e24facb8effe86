"""What is fuzzed: modules with a promise about bytes, each in ``tests/fuzz/targets``."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol, cast

from tests.fuzz import targets

CORPUS_DIR: Final = Path(__file__).parent / "corpus"
"""Inputs that once broke a promise, or nearly, in a folder for each target."""


class Target(Protocol):
    """A module that looks at one parser."""

    def run(self, data: bytes) -> None:
        """Return, whatever the bytes are; a broken promise is any exception."""
        ...

    def seeds(self) -> Iterator[bytes]:
        """Inputs to begin with."""
        ...


def names() -> list[str]:
    """Every target."""
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def module_of(name: str) -> str:
    """Where a target is."""
    return f"{targets.__name__}.{name}"


def load(module: str) -> Target:
    """The target in a module."""
    # A module is what the protocol asks for, which mypy cannot see of one found at run time.
    return cast("Target", cast("Any", importlib.import_module(module)))


def kept(name: str) -> list[Path]:
    """The inputs that are kept for a target."""
    return sorted((CORPUS_DIR / name).glob("*"))
