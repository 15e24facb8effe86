"""One service's membership at one gateway: joins, renews its lease, joins again, leaves."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

import structlog

from gateway.httpkit.membership.capabilities import tag_of
from gateway.httpkit.membership.client import (
    GatewayAwayError,
    Lease,
    MembershipClient,
    RefusedError,
    Registered,
)
from gateway.httpkit.membership.description import Description
from gateway.httpkit.membership.keeping import Keeping, KeepingError
from gateway.httpkit.membership.settings import JoinSettings
from gateway.wire.documents import Document
from gateway.wire.secret import Secret

FIRST_PAUSE_S: Final = 1.0
"""After a failure, and twice as long after each one more in a row, up to the time to renew."""

USUAL_RENEW_S: Final = 30.0
"""Until a gateway has said how often it wants to hear of us: what ours say by default."""

SHORTEST_RENEW_S: Final = 0.1
"""A gateway that asks for more than ten renewals a second errs."""

REFUSED_PAUSE_S: Final = 60.0
"""A refusal stands until a person acts, and every try with a token counts against it there."""

JITTER: Final = 0.1
"""Share by which renewals come early or late, so that a thousand nodes do not come together."""

_FOR_GOOD_S: Final = 86_400.0
_NOT_FOUND: Final = 404

_log = structlog.get_logger(__name__)


class _LostError(Exception):
    """The gateway knows nothing of our registration, or no longer takes it for ours."""


class MemberState(StrEnum):
    """Where a membership stands, as far as this process knows."""

    JOINING = "joining"
    MEMBER = "member"
    AWAY = "away"
    """The gateway does not answer."""
    REFUSED = "refused"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """What an operator is shown.

    ``reason`` is the last failure, in the gateway's words if it had any; ``gateway_state`` what the
    gateway makes of us.
    """

    gateway: str
    name: str
    state: MemberState
    reason: str = ""
    gateway_state: str = ""


class Member:
    """Sees to one membership, step by step; whoever runs the steps sets how long they go on.

    Parameters
    ----------
    url
        Gives where gateways reach us, None until connections are taken.
    """

    def __init__(
        self,
        settings: JoinSettings,
        client: MembershipClient,
        keeping: Keeping,
        description: Description,
        url: Callable[[], str | None],
        rng: Random,
    ) -> None:
        self.wake = asyncio.Event()
        """Set whenever there is something to tell before the next renewal is due."""
        self.status = MemberStatus(settings.gateway, settings.name or "", MemberState.JOINING)
        self._settings = settings
        self._client = client
        self._keeping = keeping
        self._description = description
        self._url = url
        self._rng = rng
        self._credential: Secret | None = None
        self._is_kept = True
        self._lease: Lease | None = None
        self._failures = 0
        self._is_ending = False
        self._leaving = ExitStack()

    @property
    def gateway(self) -> str:
        """The URL of the gateway."""
        return self._settings.gateway

    async def step(self) -> float:
        """Do what is due; gives the seconds until the next is, unless ``wake`` is set earlier."""
        self.wake.clear()
        url = self._url()
        if self._is_ending:
            await self.leave()
        if self._is_ending or url is None:
            return _FOR_GOOD_S
        return await self._stay(url)

    async def _stay(self, url: str) -> float:
        """Join or renew; when to do so again."""
        try:
            state = await (self._join(url) if self._lease is None else self._renew())
            await self._keeping.stay(2 * self._renew_s)
        except GatewayAwayError as error:
            return self._failed(MemberState.AWAY, "gateway_away", str(error))
        except _LostError as error:
            return self._failed(MemberState.JOINING, "registration_lost", str(error))
        except KeepingError as error:
            state = MemberState.JOINING if self._lease is None else MemberState.MEMBER
            return self._failed(state, "membership_not_kept", str(error))
        except RefusedError as error:
            return self._refused(str(error))
        self._failures = 0
        self._become(MemberState.MEMBER, gateway_state=state)
        return self._renew_s * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def end(self, work: AbstractContextManager[None]) -> None:
        """From now on only one thing is due: to leave. It is done within ``work``, if it has to be.

        So it is not broken off half-way by the end of a service that has nothing else to do.
        """
        if self._lease is not None and not self._is_ending:
            self._leaving.enter_context(work)
        self._is_ending = True
        self.wake.set()

    async def leave(self) -> None:
        """Tell the gateway that this is the end, if it is. Never raises: it finds out anyway.

        One that was cancelled on the way has not left, and leaves when it is called again.
        """
        with self._leaving:
            await self._leave()

    async def _leave(self) -> None:
        await self._keep()  # what was cancelled on the way to be kept
        if self._lease is None or self._credential is None:
            return
        try:
            if await self._keeping.is_last():
                await self._client.leave(self.gateway, self.status.name, self._credential)
        except (GatewayAwayError, KeepingError, RefusedError) as error:
            _log.warning("gateway_not_left", gateway=self.gateway, reason=str(error))
        else:
            self._become(MemberState.LEFT)
        self._lease = None

    @property
    def _renew_s(self) -> float:
        wished_s = USUAL_RENEW_S if self._lease is None else self._lease.renew_s
        return max(wished_s, SHORTEST_RENEW_S)

    async def _join(self, url: str) -> str:
        """Register anew: what the gateway was told may have changed since the last time.

        With our own credential, and with the token where that does not hold (any more).
        """
        if self._credential is None:
            self._credential = await self._keeping.credential(self.gateway)
        own, token = self._credential, self._settings.token
        bearers = [bearer for bearer in (own, token) if bearer is not None]
        if not bearers:
            raise RefusedError(401, "no token is given in join, and no credential is kept")
        for bearer in bearers[:-1]:
            try:
                return await self._register(url, bearer)
            except RefusedError as error:
                if not error.is_of_credentials:
                    raise
                _log.warning("credential_refused", gateway=self.gateway, reason=str(error))
        return await self._register(url, bearers[-1])

    async def _register(self, url: str, bearer: Secret) -> str:
        facts = await self._description.facts()
        document: Document = {
            "name": self._settings.name or facts.name,
            "url": url,
            "storage": list(facts.storage),
            "regions": list(facts.regions),
            "credentials": self._settings.credentials.to_document(),
        }
        if facts.site is not None:
            document["site"] = facts.site
        async with self._keeping.registering(url) as challenge:
            document["challenge_key"] = challenge.key_text
            registered = await self._client.register(self.gateway, document, bearer)
        await self._admitted(registered, bearer)
        # A renewal says at once what a registration cannot: that we drain.
        return await self._renew() if facts.is_draining else registered.state

    async def _admitted(self, registered: Registered, bearer: Secret) -> None:
        given = registered.credential
        credential = bearer if given is None else Secret(given)
        self._is_kept = self._is_kept and credential == self._credential
        self._credential, self._lease = credential, registered.lease
        self.status = replace(self.status, name=registered.name)
        # Who is shown as a member comes back as one: a token is good for one registration.
        await self._keep()
        self._become(MemberState.MEMBER, gateway_state=registered.state)

    async def _keep(self) -> None:
        """Keep the credential; what cannot be kept now is tried again at every renewal."""
        if self._is_kept or self._credential is None:
            return
        try:
            await self._keeping.keep(self.gateway, self._credential)
        except KeepingError as error:
            _log.error("credential_not_kept", gateway=self.gateway, reason=str(error))
            return
        self._is_kept = True

    async def _renew(self) -> str:
        assert self._credential is not None
        await self._keep()
        facts = await self._description.facts()
        try:
            renewed = await self._client.renew(
                self.gateway,
                self.status.name,
                self._credential,
                capabilities=tag_of(await self._description.capabilities()),
                is_draining=facts.is_draining,
            )
        except RefusedError as error:
            if error.status != _NOT_FOUND and not error.is_of_credentials:
                raise
            self._lease = None
            raise _LostError(str(error)) from error
        self._lease = renewed.lease
        return renewed.state

    def _failed(self, state: MemberState, event: str, reason: str) -> float:
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(self._failures, 16), self._renew_s)
        self._failures += 1
        if self._failures == 1:
            _log.warning(event, gateway=self.gateway, reason=reason)
        self._become(state, reason=reason)
        return pause_s

    def _refused(self, reason: str) -> float:
        if (self.status.state, self.status.reason) != (MemberState.REFUSED, reason):
            _log.error("membership_refused", gateway=self.gateway, reason=reason)
        self._become(MemberState.REFUSED, reason=reason)
        return REFUSED_PAUSE_S

    def _become(self, state: MemberState, *, reason: str = "", gateway_state: str = "") -> None:
        was, name = self.status.state, self.status.name
        self.status = MemberStatus(self.gateway, name, state, reason, gateway_state)
        if state is not was and state in {MemberState.MEMBER, MemberState.LEFT}:
            event = "gateway_joined" if state is MemberState.MEMBER else "gateway_left"
            _log.info(event, gateway=self.gateway, name=name)
