"""Checks of the data resources, and the storage that each lies on."""

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

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
    text,
)
from node_stub.checks.references import References, Role
from node_stub.checks.storage import storage_for
from node_stub.rules import SiteRules

PATH: Final = "/data"

_SKAO_IVOID: Final = re.compile(
    r"ivo://skao\.(?:int|net)(?:/[^?#]*)?\?(?P<query>[^#]+)", re.ASCII | re.IGNORECASE
)


def check_data(
    findings: Findings,
    rules: SiteRules,
    request: Document,
    storage: list[Document],
    references: References,
) -> list[Document]:
    """The data resources, each on a storage resource; adds to ``storage`` where none was named."""
    checked: list[Document] = []
    stores = {resource["meta"]["uuid"]: resource for resource in storage}
    for i, component in enumerate(components(request, "data")):
        place = pointer(PATH, i)
        target = references.register(Role.DATA, component, place)
        if not is_known_kind(findings, component, place, rules.kinds & kinds.DATA_KINDS):
            continue
        data = own_copy(component, target.uuid)
        _CHECKS[data["kind"]](findings, rules, data, place)
        reference = text(data, "storage")
        if reference is None:
            store = storage_for(findings, rules, data, place, references)
            storage.append(store)
            stores[store["meta"]["uuid"]] = store
            data["storage"] = store["meta"]["uuid"]
        else:
            data["storage"] = _found_storage(findings, reference, place, references)
        if named := stores.get(data["storage"]):
            named["data"].append(target.uuid)
        checked.append(data)
    return checked


def _found_storage(
    findings: Findings, reference: str, place: str, references: References
) -> str | None:
    found = references.find(reference, Role.STORAGE)
    if len(found) == 1:
        return found[0].uuid
    # Several are two storage resources of one name, which is a finding already.
    if not found:
        findings.add(reasons.STORAGE_NOT_FOUND, pointer(place, "storage"), ref=reference)
    return None


def namespace_of(ivoid: str) -> str | None:
    """The namespace that an identifier of the SKAO data lake names.

    Form: ``ivo://skao.int/data?namespace:name``, percent-encoded or not, as the gateway reads it.
    Where there is no colon, the first slash parts the two.
    """
    found = _SKAO_IVOID.match(ivoid)
    if found is None:
        return None
    query = unquote(found["query"])
    namespace, _, name = query.partition(":" if ":" in query else "/")
    return namespace if name else None


def _check_simple(findings: Findings, rules: SiteRules, data: Document, place: str) -> None:
    location, place = text(data, "location"), pointer(place, "location")
    if location is None:
        findings.add(reasons.DATA_LOCATION_REQUIRED, place)
    elif location in rules.deny.data_locations:
        findings.add(reasons.DATA_LOCATION_DENIED, place, value=location)


def _check_s3(findings: Findings, rules: SiteRules, data: Document, place: str) -> None:
    for member, what in (
        ("endpoint", "service endpoint"),
        ("template", "service template"),
        ("bucket", "bucket name"),
    ):
        if text(data, member) is None:
            findings.add(reasons.S3_REQUIRED, pointer(place, member), what=what)
    endpoint = text(data, "endpoint")
    if endpoint in rules.deny.s3_endpoints:
        findings.add(reasons.S3_ENDPOINT_DENIED, pointer(place, "endpoint"), value=endpoint)


def _check_rucio(findings: Findings, _rules: SiteRules, data: Document, place: str) -> None:
    rucio = block(data, "rucio")
    for member in ("scope", "object"):
        if text(rucio, member) is None:
            findings.add(reasons.RUCIO_REQUIRED, pointer(place, "rucio", member), what=member)


def _check_ivoa(findings: Findings, rules: SiteRules, data: Document, place: str) -> None:
    place = pointer(place, "ivoa")
    if not isinstance(data.get("ivoa"), dict):
        findings.add(reasons.IVOA_REQUIRED, place)
    elif text(block(data, "ivoa"), "ivoid") is None:
        findings.add(reasons.IVOID_REQUIRED, pointer(place, "ivoid"))
    _check_ivoid(findings, rules, data, pointer(place, "ivoid"), "IvoaDataResource")


def _check_skao(findings: Findings, rules: SiteRules, data: Document, place: str) -> None:
    skao = block(data, "skao")
    namespace, name = text(skao, "namespace"), text(skao, "objectname")
    ivoid = text(block(data, "ivoa"), "ivoid")
    if ivoid is None and (namespace is None or name is None):
        findings.add(reasons.SKAO_REQUIRED, pointer(place, "skao"))
    if namespace in rules.deny.skao_namespaces:
        findings.add(
            reasons.NAMESPACE_DENIED,
            pointer(place, "skao", "namespace"),
            component="SkaoDataResource",
            value=namespace,
        )
    size = integer(skao, "datasize")
    if size is not None and size < 0:
        findings.add(reasons.DATA_SIZE, pointer(place, "skao", "datasize"), value=size)
    _check_ivoid(findings, rules, data, pointer(place, "ivoa", "ivoid"), "SkaoDataResource")


def _check_ivoid(
    findings: Findings, rules: SiteRules, data: Document, place: str, component: str
) -> None:
    ivoid = text(block(data, "ivoa"), "ivoid")
    if ivoid is None:
        return
    if ivoid in rules.deny.ivoids:
        findings.add(reasons.IVOID_DENIED, place, component=component, value=ivoid)
    if (namespace := namespace_of(ivoid)) in rules.deny.skao_namespaces:
        findings.add(reasons.NAMESPACE_DENIED, place, component=component, value=namespace)


_CHECKS: Final[Mapping[str, Callable[[Findings, SiteRules, Document, str], None]]] = {
    kinds.SIMPLE_DATA: _check_simple,
    kinds.S3_DATA: _check_s3,
    kinds.RUCIO_DATA: _check_rucio,
    kinds.IVOA_DATA: _check_ivoa,
    kinds.SKAO_DATA: _check_skao,
}
