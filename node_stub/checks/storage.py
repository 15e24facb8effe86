"""Checks of the storage resources, and storage for data that names none."""

from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub import reasons
from node_stub.checks.findings import (
    Findings,
    block,
    components,
    integer,
    is_known_kind,
    own_copy,
    pointer,
)
from node_stub.checks.quantities import Quantity, check_quantity
from node_stub.checks.references import References, Role
from node_stub.rules import SiteRules

PATH: Final = "/storage"
COMPONENT: Final = "SimpleStorageResource"
BYTES_PER_GIB: Final = 1 << 30


def check_storage(
    findings: Findings, rules: SiteRules, request: Document, references: References
) -> list[Document]:
    """The storage resources with their sizes, all made known to later references."""
    checked: list[Document] = []
    for i, component in enumerate(components(request, "storage")):
        place = pointer(PATH, i)
        target = references.register(Role.STORAGE, component, place)
        if is_known_kind(findings, component, place, rules.kinds & kinds.STORAGE_KINDS):
            storage = own_copy(component, target.uuid)
            storage["size"] = check_quantity(findings, storage, place, _quantity(rules))
            storage["data"] = []
            checked.append(storage)
    return checked


def storage_for(
    findings: Findings, rules: SiteRules, data: Document, place: str, references: References
) -> Document:
    """A storage resource for data that names none, large enough where its size is known.

    ``place`` is that of the data, which is what the client can change.
    """
    name = data["meta"].get("name") or place
    size = max(0, integer(block(data, "skao"), "datasize") or 0)
    need = max(rules.defaults.storage_gib, -(-size // BYTES_PER_GIB), 1)
    if need > rules.limits.storage_gib:
        findings.add(
            reasons.MINIMUM_LIMIT,
            pointer(place, "skao", "datasize") if size else place,
            component=COMPONENT,
            quantity="size",
            resource=name,
            value=need,
            limit=rules.limits.storage_gib,
        )
    return {
        "kind": kinds.SIMPLE_STORAGE,
        "meta": {"uuid": references.mint(), "name": f"Storage for [{name}]"},
        "size": {"min": need, "max": need},
        "data": [],
    }


def check_total(findings: Findings, rules: SiteRules, storage: list[Document]) -> None:
    """All storage of one request together stays within the limit."""
    limit = rules.limits.storage_gib
    need = sum(resource["size"]["min"] for resource in storage)
    if need > limit:
        findings.add(
            reasons.MINIMUM_LIMIT,
            PATH,
            component=COMPONENT,
            quantity="size",
            resource="total",
            value=need,
            limit=limit,
        )


def _quantity(rules: SiteRules) -> Quantity:
    return Quantity(COMPONENT, "size", rules.defaults.storage_gib, rules.limits.storage_gib)
