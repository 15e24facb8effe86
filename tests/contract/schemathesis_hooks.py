"""What schemathesis is told about both services, loaded by its command line."""

import re
from typing import Any, Final

import schemathesis
import yaml

_AMBIGUOUS: Final = re.compile(r"[-+.]?[0-9].*")
_DAY: Final = re.compile(r"(?:0000-([0-9]{2})-[0-9]{2}|[0-9]{4}-([0-9]{2})-(?:29|30|31))(?=T)")

WIDEST: Final = 1e300
"""Larger integers have no floating-point number near them."""


def plain(tree: Any) -> Any:
    """The same document with what JSON Schema cannot tell from its neighbours made usual.

    For JSON Schema 2.0 is an integer, and so is 2**70. Here the first is none, and the second is
    no number at all: readers of 64-bit integers are common, and documents are carried unchanged.
    And a pattern cannot say that there is no 30th of February and no year 0.
    """
    if isinstance(tree, dict):
        return {name: plain(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [plain(value) for value in tree]
    if isinstance(tree, str):
        day = _DAY.match(tree)
        return f"2028-{day[1] or day[2]}-28{tree[day.end() :]}" if day else tree
    if isinstance(tree, bool) or not isinstance(tree, int | float):
        return tree
    if -(2**63) <= tree < 2**63:
        return int(tree) if tree == int(tree) else tree
    return float(max(min(tree, WIDEST), -WIDEST))


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    """Every generated body."""
    return plain(body)


class _Dumper(yaml.SafeDumper):
    """Quotes what is a number in YAML 1.2 and a string in 1.1, such as 1e3 and 0o7."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _AMBIGUOUS, list("-+.0123456789"))


@schemathesis.serializer("application/yaml")
def to_yaml(_context: Any, body: Any) -> bytes:
    """Every generated body that is sent as YAML."""
    return body if isinstance(body, bytes) else yaml.dump(body, Dumper=_Dumper).encode()
