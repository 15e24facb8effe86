"""Authorizations: the header that goes to a node, made for each exchange."""

from collections.abc import Sequence
from typing import Protocol

from gateway.clients.exchange import NodeError
from gateway.domain.coverage import Outcome
from gateway.domain.node import NodeCredentials
from gateway.domain.reasons import ReasonCode, reason


class NodeAuthorizationError(NodeError):
    """There is nothing to show to the node; it was not asked. ``detail`` names no secret."""

    outcome = Outcome.ERROR

    def __init__(self, detail: str) -> None:
        self.reason = reason(ReasonCode.NO_CREDENTIALS, detail=detail)
        super().__init__(self.reason.text())
        self.detail = detail


class NodeAuthorization(Protocol):
    """Gives the ``Authorization`` header for a node. Safe for many at once."""

    async def header(self, caller: str | None, *, deadline: float) -> str | None:
        """The header to send, by ``deadline`` (loop time); None to send none.

        ``caller`` is the header of whoever is acted for, if it is known.

        Raises
        ------
        NodeAuthorizationError
            There is none to be had.
        """
        ...

    def refuse(self, header: str) -> bool:
        """Take in that the node answered 401 to this header; whether a new one may be had."""
        ...


class FixedAuthorization:
    """What the settings say, the same each time but for the caller's own."""

    def __init__(self, credentials: NodeCredentials) -> None:
        self._credentials = credentials

    async def header(self, caller: str | None, *, deadline: float) -> str | None:
        """The header to send."""
        del deadline
        return self._credentials.authorization(caller)

    def refuse(self, header: str) -> bool:
        """Nothing else can be had."""
        del header
        return False


class AuthorizationInOrder:
    """The first of several that has something to show: each stands in for those before it."""

    def __init__(self, ways: Sequence[NodeAuthorization]) -> None:
        self._ways = tuple(ways)

    async def header(self, caller: str | None, *, deadline: float) -> str | None:
        """The header of the first that has one.

        Raises
        ------
        NodeAuthorizationError
            None has, and each says why.
        """
        details: list[str] = []
        for way in self._ways:
            try:
                header = await way.header(caller, deadline=deadline)
            except NodeAuthorizationError as error:
                details.append(error.detail)
                continue
            if header is not None:
                return header
        if details:
            raise NodeAuthorizationError("; ".join(details))
        return None

    def refuse(self, header: str) -> bool:
        """Tell all; whether any of them may have a new one."""
        answers = [way.refuse(header) for way in self._ways]
        return any(answers)
