"""Checks of the compute resource."""

from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.checks.findings import Findings, is_known_kind, own_copy
from node_stub.checks.quantities import Quantity, check_quantity
from node_stub.rules import SiteRules

PATH: Final = "/compute"
DEFAULT_NAME: Final = "Default compute resource"


def check_compute(findings: Findings, rules: SiteRules, request: Document, uuid: str) -> Document:
    """The compute resource with cores and memory filled in; a default one where none is asked."""
    component = request.get("compute")
    if not isinstance(component, dict):
        component = {"kind": kinds.SIMPLE_COMPUTE, "meta": {"name": DEFAULT_NAME}}
    if not is_known_kind(findings, component, PATH, rules.kinds & kinds.COMPUTE_KINDS):
        return {}
    compute = own_copy(component, uuid)
    limits, defaults = rules.limits, rules.defaults
    for member, default, limit in (
        ("cores", defaults.cores, limits.cores),
        ("memory", defaults.memory_gib, limits.memory_gib),
    ):
        quantity = Quantity("SimpleComputeResource", member, default, limit)
        compute[member] = check_quantity(findings, compute, PATH, quantity)
    return compute
