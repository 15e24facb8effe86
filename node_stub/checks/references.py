"""References between components: by the client's name or UUID, resolved to our own UUIDs."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from gateway.wire.documents import Document
from node_stub import reasons
from node_stub.checks.findings import Findings, block, name_of, text


class Role(StrEnum):
    """The kinds of component that another may refer to."""

    DATA = "data"
    STORAGE = "storage"


@dataclass(frozen=True, slots=True)
class Target:
    """A component that can be referred to; ``uuid`` is ours, ``path`` its place in the request."""

    role: Role
    uuid: str
    name: str | None
    path: str


class References:
    """The data and storage resources of one request."""

    def __init__(self, findings: Findings, mint: Callable[[], UUID]) -> None:
        self._findings = findings
        self._mint = mint
        self._by_text: dict[str, list[Target]] = {}

    def mint(self) -> str:
        """A fresh UUID, as text."""
        return str(self._mint())

    def register(self, role: Role, component: Document, path: str) -> Target:
        """Give the component its UUID and make it known; the same name or UUID twice is refused."""
        target = Target(role, self.mint(), name_of(component), path)
        client_uuid = text(block(component, "meta"), "uuid")
        known_as = {target.name, client_uuid and canonical(client_uuid)} - {None}
        for reference in sorted(r for r in known_as if r):
            others = self._by_text.setdefault(reference, [])
            if twin := next((other for other in others if other.role is role), None):
                self._findings.add(
                    reasons.DUPLICATE_RESOURCE,
                    path,
                    role=role,
                    requested=reference,
                    duplicate=twin.path,
                )
            others.append(target)
        return target

    def find(self, reference: str, *roles: Role) -> list[Target]:
        """Everything in these roles that the reference may mean."""
        named = self._by_text.get(reference, [])
        identified = self._by_text.get(canonical(reference), [])
        found = {target.uuid: target for target in (*named, *identified) if target.role in roles}
        return list(found.values())


def canonical(reference: str) -> str:
    """A UUID in its usual spelling, any other text as it is."""
    try:
        return str(UUID(reference))
    except ValueError:
        return reference
