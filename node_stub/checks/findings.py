"""What the checks of one request have found, and reading of documents that may hold anything."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from gateway.wire.documents import Document
from gateway.wire.phases import MessageLevel
from node_stub.reasons import MORE_MESSAGES, UNKNOWN_TYPE, Reason

MAX_MESSAGES: Final = 100
"""A request of a thousand faults is told of the first hundred; warnings are counted apart."""

MAX_VALUE_TEXT: Final = 200
"""Longest piece of a request that a message repeats, in characters."""

SERVER_META: Final = frozenset({"uuid", "url", "created", "modified", "messages", "options"})
"""Members of ``meta`` that only a service fills; what a client writes there is dropped."""

SERVER_MEMBERS: Final = frozenset({"phase", "schedule", "costs", "metrics"})
"""Members of a component that say something else in an answer than in a request."""


class Findings:
    """Collects the messages of one check, in order."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._messages: list[Document] = []
        self._refusals = 0
        self._warnings = 0

    def is_refused(self) -> bool:
        """Whether any message so far says that the request is impossible here."""
        return self._refusals > 0

    def add(self, reason: Reason, path: str, **values: object) -> None:
        """Say this reason of the element at ``path`` (RFC 6901 JSON pointer into the request)."""
        if reason.level is MessageLevel.ERROR:
            self._refusals += 1
            is_told = self._refusals <= MAX_MESSAGES
        else:
            self._warnings += 1
            is_told = self._warnings <= MAX_MESSAGES
        if not is_told:
            return
        texts = {name: shown(value) for name, value in values.items()}
        self._messages.append(reason.message(self.now, path=path, **texts))

    def messages(self) -> tuple[Document, ...]:
        """All that was said; a refusal has at least one."""
        left_out = self._refusals + self._warnings - len(self._messages)
        if not left_out:
            return tuple(self._messages)
        more = MORE_MESSAGES.message(self.now, path="", count=str(left_out))
        return (*self._messages, more)


def shown(value: object) -> str:
    """The value as a message repeats it."""
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_VALUE_TEXT else text[: MAX_VALUE_TEXT - 1] + "…"


def pointer(path: str, *members: str | int) -> str:
    """The JSON pointer of what lies further down."""
    steps = (str(m).replace("~", "~0").replace("/", "~1") for m in members)
    return "/".join((path, *steps))


def block(document: Document, member: str) -> Document:
    """The member if it is an object, else an empty one."""
    value = document.get(member)
    return value if isinstance(value, dict) else {}


def listed(document: Document, member: str) -> list[Any]:
    """The member if it is a list, else an empty one."""
    value = document.get(member)
    return value if isinstance(value, list) else []


def text(document: Document, member: str) -> str | None:
    """The member if it is a string that says something."""
    value = document.get(member)
    return value if isinstance(value, str) and value.strip() else None


def integer(document: Document, member: str) -> int | None:
    """The member if it is an integer."""
    value = document.get(member)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def strings(document: Document, member: str) -> Iterator[tuple[int, str]]:
    """The strings of a list member, with their places."""
    return ((i, item) for i, item in enumerate(listed(document, member)) if isinstance(item, str))


def components(document: Document, member: str) -> list[Document]:
    """The components of a list member; what is no object becomes one that has no kind."""
    return [item if isinstance(item, dict) else {} for item in listed(document, member)]


def name_of(component: Document) -> str | None:
    """The client's name for it."""
    return text(block(component, "meta"), "name")


def kind_of(component: Document) -> str:
    """Its kind, or an empty string."""
    return text(component, "kind") or ""


def is_known_kind(
    findings: Findings, component: Document, path: str, supported: frozenset[str]
) -> bool:
    """Whether the component's kind is among those supported; says so if it is not."""
    if kind_of(component) in supported:
        return True
    findings.add(UNKNOWN_TYPE, path, kind=kind_of(component), name=name_of(component))
    return False


def own_copy(component: Document, uuid: str) -> Document:
    """A copy under our own UUID, without what only a service may say; the client's name is kept."""
    meta = {k: v for k, v in block(component, "meta").items() if k not in SERVER_META}
    rest = {k: v for k, v in component.items() if k not in SERVER_MEMBERS | {"kind", "meta"}}
    return {"kind": kind_of(component), "meta": {"uuid": uuid, **meta}, **rest}
