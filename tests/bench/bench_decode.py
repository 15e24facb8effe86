"""What it takes to find a node's answer fit to be passed on, against ``json.loads`` of it."""

import argparse
import json
from collections.abc import Callable, Sequence
from time import process_time
from typing import Final

from gateway.wire.decode import _SESSION, decode_offerset, decode_session
from tests.bench.figures import Figure
from tests.bench.stub_nodes import StubNode

_NODES: Final = 25
"""Answers of so many nodes in each pass, so that not every text is known."""


def _answers() -> list[bytes]:
    return [StubNode(4).offerset(1.0) for _ in range(_NODES)]


def _took_us(work: Callable[[bytes], object], passes: int) -> float:
    """CPU for one answer that was not seen before."""
    used_s = 0.0
    for _ in range(passes):
        answers = _answers()
        began_s = process_time()
        for answer in answers:
            work(answer)
        used_s += process_time() - began_s
    return used_s / passes / _NODES * 1e6


def _validated(answer: bytes) -> None:
    for raw in decode_offerset(answer).offers:
        _SESSION.decode_closed(raw)


def _viewed(answer: bytes) -> None:
    for raw in decode_offerset(answer).offers:
        decode_session(raw)


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """Validation with slices, and with the views that decisions are made on."""
    passes = 2 if options.quick else 8
    rounds = []
    for _ in range(options.rounds + 1):
        base, validated, viewed = (
            _took_us(work, passes) for work in (json.loads, _validated, _viewed)
        )
        rounds.append((validated / base, viewed / base, base))
    rounds = rounds[1:]  # the first one warms up
    return [
        Figure("validate and slice", "x json.loads", tuple(one for one, _, _ in rounds)),
        Figure("validate, slice and view", "x json.loads", tuple(one for _, one, _ in rounds)),
    ]
