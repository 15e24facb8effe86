"""Requests that somebody has tampered with, for hypothesis."""

import copy
from typing import Any

from hypothesis import strategies as st

from gateway.wire.documents import Document
from tests.support.node_requests import (
    COST,
    FULL,
    JUPYTER,
    METRIC,
    OTHER_DATA,
    SITE,
    changed,
)

PIECES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "obs", "scratch", "P1Y", "PT1S", "/", "--bad", "urn:x", "2026-08-03/P1D", "READWRITE"]
    ),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.sampled_from([*OTHER_DATA, *SITE.kinds, JUPYTER["executable"], COST, METRIC]),
)
LARGE = changed(FULL, data=[*FULL["data"], *OTHER_DATA], compute__costs=[COST], storage__0__x=1)


def places(document: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of everything in a document."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(document, dict):
        inner = list(document.items())
    elif isinstance(document, list):
        inner = list(enumerate(document))
    return [path] * bool(path) + [deep for step, at in inner for deep in places(at, (*path, step))]


@st.composite
def mutated_requests(draw: st.DrawFn, most: int = 4) -> Document:
    """A request that uses everything, with up to ``most`` members replaced or removed."""
    document = copy.deepcopy(LARGE)
    for _ in range(draw(st.integers(1, most))):
        found = places(document)
        if not found:
            break
        *steps, last = draw(st.sampled_from(found))
        target: Any = document
        for step in steps:
            target = target[step]
        if draw(st.booleans()):
            target[last] = copy.deepcopy(draw(PIECES))
        else:
            del target[last]
    return document
