"""The database of several gateways: PostgreSQL, through asyncpg."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # it has no py.typed
import structlog

from gateway.errors import StoreUnavailableError
from gateway.settings import PostgresSettings
from gateway.stores.database import Row, RowConflictError
from gateway.stores.migrating import migrate
from gateway.stores.outage import Outage
from gateway.stores.postgres_sql import definition, numbered

APPLICATION: Final = "execbroker-gateway"
"""What the server's own lists of connections show."""

CLIENT_MARGIN_S: Final = 0.5
"""How much longer than the server we wait for a statement: its own refusal leaves the connection
fit for use, ours means that nobody answers."""

IDLE_FACTOR: Final = 2
"""A transaction of which nothing is heard for so many command times is undone by the server: the
process was stopped, or its machine is gone, and others wait for what it keeps."""

GIVE_BACK_S: Final = 1.0
"""How long a connection that was cut short may take to become fit for use again."""

MIGRATE_S: Final = 300.0
"""How long one statement of a migration may take, the wait for another gateway that does the same
included: an index on some million events takes minutes."""

MIGRATION_LOCK: Final = 0x6578_6563_6272_6F6B
"""The advisory lock of whoever migrates: "execbrok" in ASCII, the same for every gateway."""

CLOSE_S: Final = 5.0
"""How long to wait for connections that are in use when the database is closed."""

_LOST: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What asyncpg raises when it is the connection that failed; the second when the server had just
ended it and the news is half read."""

_OUR_MISTAKES: Final = frozenset({"22", "42"})
"""SQLSTATE classes of statements that are wrong: defects, which must not pass for a bad moment.
Source: https://www.postgresql.org/docs/15/errcodes-appendix.html"""

_CUT_OFF: Final = ("08", "57P")
"""How the SQLSTATE begins where the connection ended, as when the server shuts down."""

_CONFLICT: Final = "23"
"""SQLSTATE class of integrity constraints."""

_log = structlog.stdlib.get_logger(__name__)


class PostgresTransaction:
    """A ``Transaction``; one that ``writes`` keeps rows where its queries say so."""

    def __init__(self, connection: Any, failures: "_Failures", *, writes: bool) -> None:
        self._connection = connection
        self._failures = failures
        # Weaker than FOR UPDATE: a new row that refers to a kept one need not wait.
        self.for_update: Final = " FOR NO KEY UPDATE" if writes else ""
        self.skip_locked: Final = " FOR NO KEY UPDATE SKIP LOCKED" if writes else ""

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it changed."""
        with self._failures:
            status: str = await self._connection.execute(numbered(sql), *parameters)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row of parameters."""
        with self._failures:
            await self._connection.executemany(numbered(sql), rows)

    async def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> Sequence[Row]:
        """All rows of a query."""
        with self._failures:
            rows: list[Row] = await self._connection.fetch(numbered(sql), *parameters)
        return rows

    async def fetch_one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of a query, if there is one."""
        with self._failures:
            row: Row | None = await self._connection.fetchrow(numbered(sql), *parameters)
        return row


class PostgresDatabase:
    """A ``Database``: a pool of connections to one server.

    Parameters
    ----------
    url
        ``postgresql://user@host:port/database``, with libpq's options as a query (``sslmode``,
        ``sslrootcert``, …); what it does not say comes from the ``PG…`` variables.
    password
        Gives the password whenever a connection is made; None where none is needed, or where
        ``PGPASSWORD`` or a ``.pgpass`` file has it.
    """

    def __init__(
        self, url: str, settings: PostgresSettings, password: Callable[[], str] | None
    ) -> None:
        self._url = url
        self._settings = settings
        self._password = password
        self._pool: Any = None
        self._outage = Outage(time.monotonic)
        self._failures = _Failures(self._outage)

    async def open(self) -> None:
        """Connect, and bring the schema to this program's version.

        Raises
        ------
        SchemaTooNewError
            The schema is of a later version, which this program would not understand.
        """
        command_ms = round(self._settings.command_s * 1000)
        with self._failures:
            await self._migrate()
            self._pool = await asyncpg.create_pool(
                **self._arguments(),
                min_size=0,  # else it logs with a traceback that it cannot have its one
                max_size=self._settings.connections,
                command_timeout=self._settings.command_s + CLIENT_MARGIN_S,
                reset=_as_it_is,
                server_settings={
                    "application_name": APPLICATION,
                    "statement_timeout": str(command_ms),
                    "idle_in_transaction_session_timeout": str(IDLE_FACTOR * command_ms),
                },
            )

    async def close(self) -> None:
        """Close all connections; safe to call twice."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    @asynccontextmanager
    async def transaction(self, *, durable: bool = False) -> AsyncIterator[PostgresTransaction]:
        """A write transaction: committed at the end of the block, undone when the block raises.

        How a ``durable`` commit is kept (one disk, or several machines) is the server's setting
        ``synchronous_commit``.
        """
        begin = "BEGIN" if durable else "BEGIN; SET LOCAL synchronous_commit = off"
        async with self._connection() as connection:
            with self._failures:
                await connection.execute(begin)
            yield PostgresTransaction(connection, self._failures, writes=True)
            with _Failures(self._outage, is_commit=True):
                status = await connection.execute("COMMIT")
            if status != "COMMIT":
                message = f"the transaction went on after a statement had failed: {status}"
                raise RuntimeError(message)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[PostgresTransaction]:
        """Queries that see what has been committed so far; they never wait for a writer."""
        async with self._connection() as connection:
            yield PostgresTransaction(connection, self._failures, writes=False)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[PostgresTransaction]:
        """Several queries that see one state of the database: all of a commit, or nothing of it."""
        async with self._connection() as connection:
            with self._failures:
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield PostgresTransaction(connection, self._failures, writes=False)
            with self._failures:
                await connection.execute("COMMIT")

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` when the database cannot be read."""
        async with self.reading() as reader:
            await reader.fetch_one("SELECT 1")

    async def _migrate(self) -> None:
        connection = await asyncpg.connect(**self._arguments(), command_timeout=MIGRATE_S)
        try:
            await connection.execute("BEGIN")
            # Taken before the version is read: who waited here finds the work done.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            await migrate(PostgresTransaction(connection, self._failures, writes=True), definition)
            await connection.execute("COMMIT")
        finally:
            # Without a commit this undoes it all.
            await asyncio.shield(connection.close(timeout=GIVE_BACK_S))

    def _arguments(self) -> dict[str, Any]:
        return {
            "dsn": self._url,
            "password": self._password,
            "timeout": self._settings.connect_s,
        }

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A connection of the pool; a transaction that is still open at the end is undone."""
        assert self._pool is not None, "the database is not open"
        with self._outage.trying():
            connection = await self._acquire()
        was_cut_short = False
        try:
            yield connection
        except asyncio.CancelledError:
            was_cut_short = True
            raise
        finally:
            await asyncio.shield(self._give_back(connection, was_cut_short=was_cut_short))

    async def _acquire(self) -> Any:
        try:
            connection = await self._pool.acquire(timeout=self._settings.connect_s)
        except (asyncpg.PostgresError, *_LOST) as error:
            if not self._is_all_in_use():  # else it is the gateway that is busy
                self._outage.begin(type(error).__name__)
            raise StoreUnavailableError from error
        if self._outage.is_on:
            await self._meet(connection)
        return connection

    async def _meet(self, connection: Any) -> None:
        """See whether the database is back; a connection may be left from before it went."""
        try:
            with self._failures:
                await connection.execute("SELECT 1", timeout=self._settings.connect_s)
            self._outage.end()
        except BaseException:
            await asyncio.shield(self._give_back(connection))
            raise

    def _is_all_in_use(self) -> bool:
        is_full: bool = self._pool.get_size() == self._pool.get_max_size()
        return is_full and self._pool.get_idle_size() == 0

    async def _give_back(self, connection: Any, *, was_cut_short: bool = False) -> None:
        try:
            if self._outage.is_on:
                connection.terminate()
            elif was_cut_short or connection.is_in_transaction():
                # It waits until a statement that was cut short has ended. Was that BEGIN itself,
                # nobody knows of its transaction before.
                await connection.execute("ROLLBACK", timeout=GIVE_BACK_S)
        except (asyncpg.PostgresError, *_LOST) as error:
            _log.warning("database_connection_ended", why=type(error).__name__)
        finally:
            await self._release(connection)

    async def _release(self, connection: Any) -> None:
        """Back to the pool, which ends a connection that is not fit for use."""
        try:
            await self._pool.release(connection, timeout=GIVE_BACK_S)
        except (asyncpg.PostgresError, *_LOST) as error:
            _log.warning("database_connection_ended", why=type(error).__name__)


async def _as_it_is(_connection: Any) -> None:
    """Nothing of a session is ever set for longer than a transaction, so nothing is to reset."""


class _Failures:
    """Turns what asyncpg raises in a ``with`` into the two failures that callers know."""

    def __init__(self, outage: Outage, *, is_commit: bool = False) -> None:
        self._outage = outage
        self._is_commit = is_commit

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncpg.DataError):
            return
        if isinstance(error, TimeoutError):
            self._outage.begin(type(error).__name__)
        if isinstance(error, _LOST):
            _log.warning("database_failed", why=type(error).__name__)
            raise StoreUnavailableError(is_unsure=self._is_commit) from error
        if not isinstance(error, asyncpg.PostgresError):
            return
        state = error.sqlstate or ""
        if state[:2] in _OUR_MISTAKES:
            return
        if state[:2] == _CONFLICT:
            raise RowConflictError from error
        _log.warning("database_failed", why=type(error).__name__, sqlstate=state)
        raise StoreUnavailableError(
            is_unsure=self._is_commit and state.startswith(_CUT_OFF)
        ) from error
