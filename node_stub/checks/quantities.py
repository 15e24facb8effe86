"""Minimum and maximum of something counted: cores, memory, storage."""

from dataclasses import dataclass

from gateway.wire.documents import Document
from node_stub import reasons
from node_stub.checks.findings import Findings, block, integer, name_of, pointer


@dataclass(frozen=True, slots=True)
class Quantity:
    """One counted member of a component and the site's rules for it."""

    component: str
    member: str
    default: int
    limit: int


def check_quantity(
    findings: Findings, component: Document, path: str, quantity: Quantity
) -> Document:
    """What is needed (``min``) and, if the client says so, the most an offer may have (``max``)."""
    asked = block(component, quantity.member)
    least, most = integer(asked, "min"), integer(asked, "max")
    place = pointer(path, quantity.member)
    facts = {
        "component": quantity.component,
        "quantity": quantity.member,
        "resource": name_of(component) or "",
        "limit": str(quantity.limit),
    }
    for bound, member, value in (("Minimum", "min", least), ("Maximum", "max", most)):
        if value is not None and value < 1:
            findings.add(
                reasons.NOT_POSITIVE, pointer(place, member), **facts, bound=bound, value=value
            )
    if least is not None and most is not None and 1 <= most < least:
        findings.add(reasons.MINIMUM_ABOVE_MAXIMUM, place, **facts, min=least, max=most)
    need = _need(quantity, least, most)
    if need > quantity.limit:
        findings.add(reasons.MINIMUM_LIMIT, pointer(place, "min"), **facts, value=need)
    elif most is not None and most > quantity.limit:
        findings.add(reasons.MAXIMUM_LIMIT, pointer(place, "max"), **facts, value=most)
    bounds = {**asked, "min": need}
    bounds.pop("max", None)  # may be null
    return bounds if most is None else {**bounds, "max": max(need, min(most, quantity.limit))}


def _need(quantity: Quantity, least: int | None, most: int | None) -> int:
    """The minimum, or for it the default as far as the maximum and the limit allow."""
    if least is not None:
        return least
    default = quantity.default if most is None else min(quantity.default, most)
    return max(1, min(default, quantity.limit))
