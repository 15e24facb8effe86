"""What stays true of a node however often it is started: who it is, and whether it drains."""

from collections.abc import Callable
from uuid import UUID

import structlog

from node_stub.store import Store

_log = structlog.get_logger(__name__)


class Installation:
    """The node's identity, and whether it takes new requests; kept in its store.

    Parameters
    ----------
    mint
        Gives a fresh UUID, for an identity where there is none yet.
    """

    def __init__(self, store: Store, mint: Callable[[], UUID]) -> None:
        self._store = store
        self._mint = mint
        self._identity: UUID | None = None
        self._is_draining = False

    async def open(self) -> None:
        """Read both, once the store is open; the first time, the identity is made.

        Raises
        ------
        StoreUnavailableError
        """
        async with self._store.transaction() as transaction:
            known = await transaction.installation()
            if known is None:
                known = (self._mint(), False)
                await transaction.set_installation(known[0], is_draining=False)
        self._identity, self._is_draining = known

    @property
    def identity(self) -> UUID:
        """The same for as long as the store is kept; to be asked for after ``open``."""
        if self._identity is None:
            raise AssertionError("asked for before the store was read")
        return self._identity

    @property
    def is_draining(self) -> bool:
        """Whether new requests are answered with NO."""
        return self._is_draining

    async def set_draining(self, *, is_draining: bool) -> None:
        """Begin or end to drain; what was offered or accepted before is not touched.

        Requests that are being answered meanwhile come before or after, never half-way: they hold
        the store when they decide.

        Raises
        ------
        StoreUnavailableError
            Nothing has changed.
        """
        was = self._is_draining
        async with self._store.transaction() as transaction:
            await transaction.set_installation(self.identity, is_draining=is_draining)
            transaction.afterwards(lambda: self._set(is_draining))
        if was is not is_draining:
            _log.info("draining_changed", is_draining=is_draining)

    def _set(self, is_draining: bool) -> None:
        self._is_draining = is_draining
