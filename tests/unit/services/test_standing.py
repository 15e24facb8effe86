"""Who is still let in, as the database says, on every engine."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import pytest

from gateway.clock import SystemClock
from gateway.services.caller import ADMIN_OWNER
from gateway.services.standing import OwnerStanding
from gateway.stores.database import Database
from gateway.stores.identities import SqlIdentityStore
from gateway.stores.revocations import SqlRevocationStore
from gateway.wire.identity import IdentityChange, StoredIdentity, Subject
from tests.support.stores import Store

ISSUER: Final = "https://iam.example.org/realms/ska"


@pytest.fixture
async def database(store: Store, tmp_path: Path) -> AsyncIterator[Database]:
    async with store.opened(tmp_path) as opened:
        yield opened


def standing(database: Database, **changes: bool) -> OwnerStanding:
    return OwnerStanding(
        SqlIdentityStore(database, SystemClock()),
        SqlRevocationStore(database, SystemClock()),
        issuers=[ISSUER],
        **{"has_admin": True, "asks_who": True} | changes,
    )


async def ann(database: Database) -> tuple[SqlIdentityStore, UUID]:
    people = SqlIdentityStore(database, SystemClock())
    return people, (await people.add(StoredIdentity(uuid4(), "ann", "hash"))).uuid


async def test_a_local_identity_may_read_unless_it_is_revoked_or_gone(database: Database) -> None:
    people, uuid = await ann(database)
    assert await standing(database).may_read(str(uuid))
    await people.change(uuid, IdentityChange(is_revoked=True))
    assert not await standing(database).may_read(str(uuid))
    await people.change(uuid, IdentityChange(is_revoked=False))
    assert await standing(database).may_read(str(uuid))
    await people.remove(uuid)
    assert not await standing(database).may_read(str(uuid))


async def test_a_subject_may_read_unless_it_is_shut_out(database: Database) -> None:
    shut_out = SqlRevocationStore(database, SystemClock())
    mallory, dave = Subject(ISSUER, "mallory@home"), Subject(ISSUER, "dave")
    await shut_out.revoke(mallory)
    assert not await standing(database).may_read(mallory.owner)
    assert await standing(database).may_read(dave.owner)
    await shut_out.restore(mallory)
    assert await standing(database).may_read(mallory.owner)


async def test_the_subjects_of_an_issuer_that_is_not_trusted_may_not_read(
    database: Database,
) -> None:
    assert not await standing(database).may_read(Subject("https://elsewhere.org", "dave").owner)


async def test_the_administrator_may_read_where_there_is_one(database: Database) -> None:
    assert await standing(database).may_read(ADMIN_OWNER)
    assert not await standing(database, has_admin=False).may_read(ADMIN_OWNER)


async def test_where_nobody_says_who_they_are_everybody_may_read(database: Database) -> None:
    assert await standing(database, asks_who=False).may_read("anonymous")
    assert not await standing(database).may_read("anonymous")
