"""Which release runs."""

from functools import cache
from importlib.metadata import version
from typing import Final

DISTRIBUTION: Final = "execbroker-gateway"
"""Both services are parts of it."""


@cache
def release() -> str:
    """Its version; read once, as all of its description is parsed for that."""
    return version(DISTRIBUTION)
