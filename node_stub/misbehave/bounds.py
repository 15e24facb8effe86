"""How many offers a node that misbehaves makes."""

from typing import Final

DEFAULT_OFFERS: Final = 4
"""In one answer, unless it is told otherwise."""

MAX_OFFERS: Final = 10_000
"""In one answer, some 10 MB: more than any client reads."""
