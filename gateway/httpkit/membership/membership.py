"""All memberships of a service: kept while it runs, ended with it, shown to the administrator."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Final

from aiohttp import web
from marshmallow import Schema, fields

from gateway.httpkit.bodies import answer_json
from gateway.httpkit.errors import OverloadedProblem
from gateway.httpkit.health import Lifecycle
from gateway.httpkit.membership.capabilities import add_capabilities_route
from gateway.httpkit.membership.challenge import Challenge, add_challenge_route
from gateway.httpkit.membership.client import MembershipClient
from gateway.httpkit.membership.description import Description
from gateway.httpkit.membership.keeping import Keeping, KeepingError
from gateway.httpkit.membership.member import Member, MemberState
from gateway.httpkit.membership.settings import JoinSettings
from gateway.httpkit.operations import JSON_ONLY, docs, response_schema

LEAVE_S: Final = 3.0
"""What leaving all gateways may take at the end: what is not told then shows in the lease."""


class MembershipSchema(Schema):
    """One membership."""

    gateway = fields.String(required=True)
    name = fields.String(required=True, metadata={"description": "What we are called there."})
    state = fields.Enum(MemberState, by_value=True, required=True)
    reason = fields.String(required=True, metadata={"description": "The last failure."})
    gateway_state = fields.String(
        required=True, metadata={"description": "What the gateway makes of us."}
    )


class MembershipsSchema(Schema):
    """Every gateway that this service is to join."""

    memberships = fields.List(fields.Nested(MembershipSchema()), required=True)


class Membership:
    """The memberships of a service.

    Whoever owns this runs the steps of each of ``members`` inside of ``running``.

    Parameters
    ----------
    public_url
        Where gateways reach us, unless an entry says otherwise; None: where we listen.
    """

    def __init__(
        self,
        joins: Sequence[JoinSettings],
        *,
        keeping: Keeping,
        description: Description,
        lifecycle: Lifecycle,
        public_url: str | None,
        rng: Random,
    ) -> None:
        self._clients = tuple(MembershipClient(join.ca_file) for join in joins)
        self._keeping = keeping
        self._description = description
        self._lifecycle = lifecycle
        self._public_url = None if public_url is None else public_url.rstrip("/")
        self.members = tuple(
            self._member(join, client, rng)
            for join, client in zip(joins, self._clients, strict=True)
        )
        lifecycle.watch(self._lifecycle_changed)

    def _member(self, join: JoinSettings, client: MembershipClient, rng: Random) -> Member:
        def url() -> str | None:
            listening = self._lifecycle.listening_at
            return None if listening is None else join.url or self._public_url or listening

        return Member(join, client, self._keeping, self._description, url, rng)

    def _lifecycle_changed(self) -> None:
        for member in self.members:
            if self._lifecycle.is_draining:
                member.end(self._lifecycle.work())
            else:
                member.wake.set()

    def tell(self) -> None:
        """Renew everywhere at once: something has changed that gateways should know."""
        for member in self.members:
            member.wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connections while it lasts; at its end every gateway is left. No step may run then."""
        async with AsyncExitStack() as connections:
            for client in self._clients:
                await connections.enter_async_context(client)
            yield
            try:
                async with asyncio.timeout(LEAVE_S), asyncio.TaskGroup() as group:
                    for member in self.members:
                        group.create_task(member.leave())
            except TimeoutError:
                return

    async def _open_challenge(self) -> Challenge | None:
        if not self.members:
            return None
        try:
            return await self._keeping.open_challenge()
        except KeepingError as error:
            raise OverloadedProblem("What is under way cannot be read at the moment.") from error

    def add_routes(self, app: web.Application) -> None:
        """Serve what gateways ask before and after we join them, and how our memberships stand."""
        add_challenge_route(app, self._open_challenge)
        add_capabilities_route(app, self._description.capabilities)

        @docs(
            tags=["administration"],
            summary="The gateways that this service joins",
            media_types=JSON_ONLY,
        )
        @response_schema(MembershipsSchema(), 200)
        async def get_memberships(_request: web.Request) -> web.Response:
            shown = MembershipsSchema().dump({"memberships": [m.status for m in self.members]})
            return answer_json(shown)

        app.router.add_get("/admin/memberships", get_memberships)
