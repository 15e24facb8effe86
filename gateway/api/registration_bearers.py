"""The two sorts of bearer tokens that registration has: those of registrants and those of nodes."""

from gateway.httpkit.auth import Principal, Role
from gateway.httpkit.errors import UnauthorizedProblem
from gateway.registration_errors import BadRegistrationTokenError
from gateway.services.registration_tokens import (
    CREDENTIAL_PREFIX,
    TOKEN_PREFIX,
    RegistrationTokens,
)


class RegistrationTokenScheme:
    """``ebr_…``: may register one node. The principal's user name is the UUID of the token."""

    def __init__(self, tokens: RegistrationTokens) -> None:
        self._tokens = tokens

    async def principal(self, token: str) -> Principal | None:
        """Who the token speaks for; None where it is of another sort.

        Raises
        ------
        BadRegistrationTokenError
            It is not known, used up or over.
        """
        if not token.startswith(TOKEN_PREFIX):
            return None
        row = await self._tokens.token_of(token)
        if row is None:
            raise BadRegistrationTokenError
        return Principal(
            owner=None,
            username=str(row.uuid),
            is_admin=False,
            role=Role.REGISTRANT,
            node=row.name,
        )


class NodeCredentialScheme:
    """``ebn_…``: a registered node's own."""

    def __init__(self, tokens: RegistrationTokens) -> None:
        self._tokens = tokens

    async def principal(self, token: str) -> Principal | None:
        """Which node calls; None where the token is of another sort.

        Raises
        ------
        UnauthorizedProblem
            It is no node's, or no longer.
        """
        if not token.startswith(CREDENTIAL_PREFIX):
            return None
        node = await self._tokens.node_of(token)
        if node is None:
            raise UnauthorizedProblem(
                "The node credential no longer holds: register with a new token."
            )
        return Principal(
            owner=None, username=f"node:{node}", is_admin=False, role=Role.NODE, node=node
        )
