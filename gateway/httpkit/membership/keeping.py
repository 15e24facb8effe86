"""What a service keeps of its memberships, and whose turn it is to register."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.httpkit.membership.challenge import Challenge
from gateway.wire.secret import Secret


class KeepingError(Exception):
    """It cannot be kept or read at the moment; what was there is still there."""


class Keeping(Protocol):
    """Keeps the credentials that gateways gave us, and the challenge of a registration.

    A challenge does not say which gateway it is of, so one registration is under way at a time, of
    all processes that answer at our URL.
    """

    async def credential(self, gateway: str) -> Secret | None:
        """What the gateway of this URL gave us, if it has.

        Raises
        ------
        KeepingError
        """
        ...

    async def keep(self, gateway: str, credential: Secret) -> None:
        """Keep what it gave us, in place of what it gave before.

        Raises
        ------
        KeepingError
        """
        ...

    def registering(self, url: str) -> AbstractAsyncContextManager[Challenge]:
        """Our turn to register this URL: until the block ends, challenges are answered with this.

        Raises
        ------
        KeepingError
            Also when others take too long with theirs.
        """
        ...

    async def open_challenge(self) -> Challenge | None:
        """That of the registration under way, if one is.

        Raises
        ------
        KeepingError
        """
        ...

    async def stay(self, for_s: float) -> None:
        """Note that this process goes on for so long at least, as a member.

        Raises
        ------
        KeepingError
        """
        ...

    async def is_last(self) -> bool:
        """Whether no other process goes on when this one ends; asked at its end.

        Raises
        ------
        KeepingError
        """
        ...
