"""Puts the data of sessions in place, in the background, and says how far it has come."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from aiohttp.abc import AbstractResolver

from gateway.wire.documents import Document
from gateway.wire.phases import ComponentPhase
from node_stub.appraisal import Appraisal
from node_stub.clock import Clock
from node_stub.platforms.base import EndReason
from node_stub.platforms.runner import Workspace
from node_stub.staging.buckets import BucketLister
from node_stub.staging.cache import Cache
from node_stub.staging.client import ClientLimits, GuardedClient
from node_stub.staging.credentials import Keyring
from node_stub.staging.errors import StorageError
from node_stub.staging.estimating import Estimator
from node_stub.staging.fetching import Fetcher
from node_stub.staging.obtaining import Obtainer
from node_stub.staging.rates import Rates
from node_stub.staging.records import (
    StagingFailure,
    StagingSpec,
    StagingState,
    read_record,
    write_record,
)
from node_stub.staging.session_staging import SessionStaging, Tools
from node_stub.staging.settings import BYTES_PER_MB, StagingSettings
from node_stub.staging.threads import settled
from node_stub.standing import Component

SAVE_RATES_S: Final = 60.0
"""How often measurements are written down: to lose a minute of them costs nothing."""

_RATES_FILE: Final = "rates.json"
_UNKNOWN: Final = "staging came to an unexpected end"

_log = structlog.get_logger(__name__)


def client_limits(settings: StagingSettings) -> ClientLimits:
    """How long to wait for strangers."""
    return ClientLimits(
        connect_timeout_s=settings.connect_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        max_redirects=settings.max_redirects,
    )


class Stager:
    """Stages sessions. One instance owns its cache directory; `open` and `close` it.

    ``resolver`` looks up names; None is the usual one. It is closed with the stager.
    """

    def __init__(
        self,
        settings: StagingSettings,
        cache_dir: Path,
        clock: Clock,
        resolver: AbstractResolver | None = None,
    ) -> None:
        rules = settings.rules()
        keyring = Keyring(settings.s3_credentials)
        self._clock = clock
        self._client = GuardedClient(rules, client_limits(settings), resolver)
        self._rates = Rates(cache_dir / _RATES_FILE, settings.default_rate_mb_s * BYTES_PER_MB)
        self._cache = Cache(cache_dir, settings.cache_bytes)
        self._tools = Tools(
            settings,
            Obtainer(rules, self._client, keyring, Fetcher(settings, self._rates), self._cache),
            BucketLister(settings, rules, self._client, keyring),
        )
        self._estimator = Estimator(settings, keyring, self._rates, self._cache)
        self._hint: Callable[[UUID], None] = _no_hint
        self._stagings: dict[UUID, SessionStaging] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._saved_at = clock.now()

    async def open(self, hint: Callable[[UUID], None]) -> None:
        """Get ready; ``hint`` is called with a session of which there is news.

        Raises
        ------
        StorageError
            The cache directory cannot be used.
        """
        self._hint = hint
        await settled(self._cache.open)
        await settled(self._rates.load)
        await self._client.open()

    async def close(self) -> None:
        """Stop all staging where it is; `begin` or `resume` goes on with it."""
        for session in list(self._tasks):
            await self.cancel(session)
        await self._client.close()
        await self._save_rates()
        await settled(self._cache.close)

    def estimate(self, document: Document, *, shares_files: bool) -> Appraisal:
        """What can be said of storage, data and notebook beforehand; nothing is fetched.

        Parameters
        ----------
        shares_files
            Whether a job cannot write to what is mounted READONLY, so that nothing is copied.
        """
        return self._estimator.appraise(document, shares_files=shares_files)

    async def begin(self, spec: StagingSpec) -> None:
        """Begin to stage a session, or go on; one that is at work or settled is left alone.

        Its workspace is there.

        Raises
        ------
        StorageError
            What is asked for cannot be written down.
        """
        session = spec.workspace.session
        if session in self._stagings:
            return
        found = await settled(read_record, spec.workspace)
        if session in self._stagings or (found is not None and found[1].is_settled):
            return
        staging = SessionStaging(spec, self._tools, lambda: self._hint(session))
        self._stagings[session] = staging
        try:
            await settled(write_record, spec, StagingState())
        except StorageError:
            del self._stagings[session]
            raise
        if self._stagings.get(session) is staging:
            task = asyncio.create_task(self._run(staging), name="stage_session")
            task.add_done_callback(lambda ended: self._look_after(staging, ended))
            self._tasks[session] = task

    async def resume(self, workspace: Workspace) -> bool:
        """Go on with what an earlier broker began; whether there is anything of the kind."""
        found = await settled(read_record, workspace)
        if found is None:
            return False
        await self.begin(found[0])
        return True

    async def state(self, workspace: Workspace) -> StagingState | None:
        """How far a session has come; None if it was never begun.

        What is neither settled nor at work, as after a new start, is `resume`d first.
        """
        staging = self._stagings.get(workspace.session)
        if staging is not None:
            return staging.state
        found = await settled(read_record, workspace)
        return None if found is None else found[1]

    async def cancel(self, session: UUID) -> None:
        """Stop staging a session, and forget it; when this returns, nothing of it is at work.

        Also to be called when a session is released: until then its state is kept in memory.
        """
        self._stagings.pop(session, None)
        task = self._tasks.pop(session, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self, staging: SessionStaging) -> None:
        log = _log.bind(session=str(staging.spec.workspace.session))
        await staging.run()
        state = staging.state
        if state.failure is None:
            log.info("data_staged", bytes=state.bytes_staged, took_s=round(state.staging_s, 3))
        else:
            log.info("data_not_staged", reason=state.failure.text, part=state.failure.component)
        if (self._clock.now() - self._saved_at).total_seconds() >= SAVE_RATES_S:
            await self._save_rates()

    def _look_after(self, staging: SessionStaging, ended: asyncio.Task[None]) -> None:
        """After a defect of ours the session must not wait for ever."""
        if ended.cancelled() or (error := ended.exception()) is None:
            return
        session = staging.spec.workspace.session
        _log.error("staging_failed", session=str(session), exc_info=error)
        if not staging.state.is_settled:
            failure = StagingFailure(Component.DATA, EndReason.NODE, _UNKNOWN)
            phases = {Component.DATA: ComponentPhase.FAILED}
            staging.state = StagingState(phases, failure=failure)
        self._hint(session)

    async def _save_rates(self) -> None:
        self._saved_at = self._clock.now()
        save = self._rates.pending()
        if save is None:
            return
        try:
            await settled(save)
        except OSError as error:
            _log.warning("rates_not_saved", reason=str(error))


def _no_hint(_session: UUID) -> None:
    """Nobody listens yet."""
