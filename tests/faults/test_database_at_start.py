"""A gateway that cannot use its database says why, and ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer

REFUSED = "postgresql://gateway@127.0.0.1:1/gateway"
"""Nobody listens on port 1."""


def serve(folder: Path, database: str) -> subprocess.CompletedProcess[str]:
    config = folder / "gateway.yaml"
    config.write_text(f"listen: 127.0.0.1:0\ndatabase: '{database}'\n")
    return subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", config, "--data-dir", folder],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    done = serve(tmp_path, REFUSED)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "database_not_usable" in done.stderr
    assert "refused" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_schema_that_is_too_new(
    tmp_path: Path, postgres: PostgresServer, postgres_url: str
) -> None:
    schema = postgres_url.rpartition("=")[2]
    table = f"{schema}.schema_version"
    postgres.ask(f"CREATE TABLE {table} (version BIGINT, oldest_program BIGINT)")
    postgres.ask(f"INSERT INTO {table} VALUES (1000, 999)")
    done = serve(tmp_path, postgres_url)
    assert done.returncode == 1
    assert "for programs of version 999 and later" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["directory", "text"])
def test_a_file_that_is_no_database(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "text").write_text("not a database, and longer than its header\n" * 10)
    done = serve(tmp_path, f"sqlite:///{name}")
    assert done.returncode == 1
    assert "database_not_usable" in done.stderr
    assert "Traceback" not in done.stderr
