"""Rules of the schema and the stores, so that gateways of two versions can share a database."""

import re
from pathlib import Path

import pytest

from gateway.stores.migrations import MIGRATIONS

STORES = Path(__file__).parents[3] / "gateway" / "stores"


@pytest.mark.parametrize(
    ("statement", "version"),
    [(sql.strip(), version) for version in MIGRATIONS[1:] for sql in version],
)
def test_migrations_only_add(statement: str, version: tuple[str, ...]) -> None:
    words = " ".join(statement.split())
    first_row = re.match(r"INSERT INTO (\w+) ", words)
    if first_row:
        made = f"CREATE TABLE {first_row[1]} "
        assert any(sql.strip().startswith(made) for sql in version), "programs use the table"
        return
    assert re.match(r"CREATE TABLE|CREATE (UNIQUE )?INDEX|ALTER TABLE \w+ ADD COLUMN", words)
    if words.startswith("ALTER") and "NOT NULL" in words:
        assert "DEFAULT" in words, "programs of the version before leave it out"


def test_no_statement_takes_columns_that_it_does_not_name() -> None:
    """A later version adds columns under the feet of programs that run."""
    for source in STORES.glob("*.py"):
        assert not re.search(r"(SELECT|RETURNING) \*", source.read_text()), source
