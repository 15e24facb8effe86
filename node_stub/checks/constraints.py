"""Checks of the limits that a request puts on costs and metrics."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub import reasons
from node_stub.checks.findings import (
    Findings,
    block,
    components,
    is_known_kind,
    pointer,
    text,
)
from node_stub.rules import Figure, Profile

COST_KINDS: Final = kinds.COST_KINDS - kinds.CLIENT_BREAKING_KINDS
"""The abstract kind has no figures: nothing can be compared with it."""

METRIC_KINDS: Final = kinds.METRIC_KINDS - kinds.CLIENT_BREAKING_KINDS
"""Without the abstract kind, as for costs."""


def check_constraints(findings: Findings, profile: Profile, request: Document) -> None:
    """Refuse what the declared figures cannot meet, wherever in the request the limit stands.

    A limit on the session is compared with the session's figures, or with those of compute where
    the session has none of that type; a limit on compute the other way round.
    """
    session = (profile.session_costs, profile.session_metrics)
    compute = (profile.compute_costs, profile.compute_metrics)
    either = (_merged(compute[0], session[0]), _merged(compute[1], session[1]))
    _check_at(findings, request, "", either)
    other = (_merged(session[0], compute[0]), _merged(session[1], compute[1]))
    _check_at(findings, block(request, "compute"), "/compute", other)
    nothing: tuple[Mapping[str, Figure], Mapping[str, Figure]] = ({}, {})
    _check_at(findings, block(request, "executable"), "/executable", nothing)
    for member, holder, place in (
        ("storage", request, "/storage"),
        ("data", request, "/data"),
        ("volumes", block(request, "compute"), "/compute/volumes"),
    ):
        for i, component in enumerate(components(holder, member)):
            _check_at(findings, component, pointer(place, i), nothing)


def _merged(weak: Sequence[Figure], strong: Sequence[Figure]) -> Mapping[str, Figure]:
    """By type; the strong ones win."""
    return {figure.type: figure for figure in (*weak, *strong)}


def _check_at(
    findings: Findings,
    component: Document,
    place: str,
    declared: tuple[Mapping[str, Figure], Mapping[str, Figure]],
) -> None:
    costs, metrics = declared
    for i, item in enumerate(components(component, "costs")):
        _check_item(findings, item, pointer(place, "costs", i), costs, is_cost=True)
    for i, item in enumerate(components(component, "metrics")):
        _check_item(findings, item, pointer(place, "metrics", i), metrics, is_cost=False)


def _check_item(
    findings: Findings,
    item: Document,
    place: str,
    declared: Mapping[str, Figure],
    *,
    is_cost: bool,
) -> None:
    if not is_known_kind(findings, item, place, COST_KINDS if is_cost else METRIC_KINDS):
        return
    name = text(item, "type")
    least, most = _number(item, "min"), _number(item, "max")
    if least is not None and most is not None and least > most:
        findings.add(reasons.LIMIT_ORDER, place, type=name, min=least, max=most)
    figure = declared.get(name) if name else None
    if figure is None or (figure.min is None and figure.max is None):
        findings.add(reasons.UNKNOWN_LIMIT, place, type=name)
        return
    if most is not None and figure.min is not None and figure.min > most:
        reason = reasons.COST_LIMIT if is_cost else reasons.METRIC_ABOVE
        findings.add(reason, pointer(place, "max"), type=name, offered=figure.min, limit=most)
    # A cost has no lower limit that anybody would mind passing.
    if not is_cost and least is not None and figure.max is not None and figure.max < least:
        findings.add(
            reasons.METRIC_BELOW,
            pointer(place, "min"),
            type=name,
            offered=figure.max,
            limit=least,
        )


def _number(item: Document, member: str) -> float | None:
    value = item.get(member)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return value
