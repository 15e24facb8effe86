"""The same tests on every database that a gateway can have.

A pytest plugin: in the files of ``ON_EACH`` every test runs once on SQLite and once on PostgreSQL.
All other tests have SQLite, or the database that they name themselves.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from gateway.stores.database import Database
from gateway.stores.engines import database_of
from tests.support.postgres import PostgresServer

ON_EACH: Final = frozenset(
    {
        "tests/api/gateway/test_acceptance.py",
        "tests/api/gateway/test_changed_meanwhile.py",
        "tests/api/gateway/test_direct.py",
        "tests/api/gateway/test_idempotency.py",
        "tests/api/gateway/test_revocations.py",
        "tests/api/gateway/test_audit.py",
        "tests/api/gateway/test_quotas.py",
        "tests/api/gateway/test_registration_shared.py",
        "tests/faults/test_accept_protocol.py",
        "tests/faults/test_backup.py",
        "tests/faults/test_crash_points.py",
        "tests/faults/test_event_order.py",
        "tests/faults/test_letting_go.py",
        "tests/faults/test_shared_store.py",
        "tests/faults/test_upgrade.py",
        "tests/unit/services/test_standing.py",
        "tests/unit/membership/test_shared_keeping.py",
        "tests/unit/stores/test_event_order.py",
        "tests/unit/stores/test_listing_store.py",
        "tests/unit/stores/test_migrations.py",
        "tests/unit/stores/test_software_store.py",
        "tests/unit/stores/test_nodes_store.py",
        "tests/unit/stores/test_stores.py",
        "tests/unit/stores/test_transactions.py",
        "tests/unit/stores/test_webhook_store.py",
    }
)
"""Where the database decides what happens; the rest of the tests would repeat these."""

SQLITE: Final = "sqlite:///gateway.db"


@dataclass(slots=True)
class Store:
    """Gives each gateway its database: the same one to whoever comes with the same directory."""

    server: PostgresServer | None = None
    urls: dict[Path, str] = field(default_factory=dict)

    def url(self, data_dir: Path) -> str:
        """The URL of the database of the gateway in this directory."""
        if self.server is None:
            return SQLITE
        if data_dir not in self.urls:
            self.urls[data_dir] = self.server.create_schema()
        return self.urls[data_dir]

    @asynccontextmanager
    async def opened(self, data_dir: Path) -> AsyncIterator[Database]:
        """That database, open: to look into it, or to change it behind the gateway's back."""
        database = database_of(self.url(data_dir), data_dir)
        await database.open()
        try:
            yield database
        finally:
            await database.close()

    def forget(self) -> None:
        """Remove what was made."""
        if self.server is not None:
            for url in self.urls.values():
                self.server.drop_schema(url)
        self.urls.clear()


_of_this_test: list[Store] = []


def store_of_this_test() -> Store:
    """What the fixture gives, for those that are not given fixtures."""
    return _of_this_test[-1] if _of_this_test else Store()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of ``ON_EACH`` twice."""
    path = metafunc.definition.path.relative_to(metafunc.config.rootpath).as_posix()
    if path in ON_EACH:
        metafunc.parametrize("store_of_gateways", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def store(store_of_gateways: Store) -> Store:
    """The same, for tests that look into it; a module may have another store of that name."""
    return store_of_gateways


@pytest.fixture(autouse=True)
def store_of_gateways(request: pytest.FixtureRequest) -> Iterator[Store]:
    """The databases of this test's gateways."""
    is_postgres = getattr(request, "param", "sqlite") == "postgres"
    chosen = Store(request.getfixturevalue("postgres") if is_postgres else None)
    _of_this_test.append(chosen)
    try:
        yield chosen
    finally:
        _of_this_test.remove(chosen)
        chosen.forget()
