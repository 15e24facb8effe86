"""Which databases a settings file may name, and where their password may stand."""

from pathlib import Path

import pytest

from gateway.config import GatewaySettings, load_gateway_settings
from gateway.httpkit.settings import SettingsError, describe
from gateway.stores.engines import database_of
from gateway.stores.postgres import PostgresDatabase
from gateway.stores.sqlite import SqliteDatabase


def load(folder: Path, text: str) -> GatewaySettings:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return load_gateway_settings(path)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///gateway.db", SqliteDatabase),
        ("sqlite:////srv/gateway.db", SqliteDatabase),
        ("postgresql://gateway@db.example.org/gateway", PostgresDatabase),
        ("postgresql://db.example.org:5433/gateway?sslmode=verify-full", PostgresDatabase),
        ("postgresql:///gateway?host=/run/postgresql", PostgresDatabase),
    ],
)
def test_a_url_names_its_engine(tmp_path: Path, url: str, kind: type) -> None:
    assert load(tmp_path, f"database: {url}").database == url
    assert isinstance(database_of(url, tmp_path), kind)


@pytest.mark.parametrize("url", ["sqlite:///", "mysql://db/gateway", "gateway.db", "postgresql:db"])
def test_anything_else_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="database: must be sqlite:///FILE or postgresql://"):
        load(tmp_path, f"database: '{url}'")


@pytest.mark.parametrize(
    "url",
    ["postgresql://gateway:hush@db/gateway", "postgresql://db/gateway?user=me&password=hush"],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="database_password_env") as refused:
        load(tmp_path, f"database: '{url}'")
    assert "hush" not in str(refused.value)


def test_a_password_comes_from_elsewhere_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hush")
    settings = load(
        tmp_path,
        "database: postgresql://gateway@db/gateway\n"
        "database_password_env: DB_PASSWORD\n"
        "postgres: {connections: 20, connect_s: 1, command_s: 2.5}\n",
    )
    assert settings.database_password is not None
    assert settings.database_password.reveal() == "hush"
    assert settings.postgres.connections == 20
    assert "hush" not in str(describe(settings))
    assert "hush" not in repr(settings)


@pytest.mark.parametrize("part", ["connections: 1", "connect_s: 0", "command_s: 1000", "pool: 3"])
def test_limits_that_make_no_sense_are_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(SettingsError, match=f"postgres.{part.partition(':')[0]}"):
        load(tmp_path, f"postgres: {{{part}}}")
