"""Settings files: what is refused, where secrets come from, what is shown."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from marshmallow import fields, validate

from gateway.httpkit.listen_address import ListenAddress, parse_listen
from gateway.httpkit.server_settings import (
    LogFormat,
    Reads,
    ServerSchema,
    ServerSettings,
)
from gateway.httpkit.settings import (
    SecretField,
    SettingsError,
    SettingsSchema,
    TypedSettingsSchema,
    describe,
    load_settings,
)
from gateway.wire.secret import Secret


@dataclass(frozen=True, kw_only=True)
class NoCredentials:
    pass


@dataclass(frozen=True, kw_only=True)
class BasicCredentials:
    username: str
    password: Secret


class NoCredentialsSchema(SettingsSchema):
    settings_class: ClassVar[type] = NoCredentials


class BasicCredentialsSchema(SettingsSchema):
    settings_class: ClassVar[type] = BasicCredentials

    username = fields.String(required=True)
    password = SecretField(required=True)


class CredentialsSchema(TypedSettingsSchema):
    type_schemas = {"none": NoCredentialsSchema(), "basic": BasicCredentialsSchema()}  # noqa: RUF012


@dataclass(frozen=True, kw_only=True)
class PeerSettings:
    name: str
    url: str
    tags: tuple[str, ...] = ()
    credentials: NoCredentials | BasicCredentials = field(default_factory=NoCredentials)


class PeerSchema(SettingsSchema):
    settings_class: ClassVar[type] = PeerSettings

    name = fields.String(required=True)
    url = fields.URL(required=True, require_tld=False)
    tags = fields.List(fields.String())
    credentials = fields.Nested(CredentialsSchema())


@dataclass(frozen=True, kw_only=True)
class ThingSettings(ServerSettings):
    database: str = "sqlite:///thing.db"
    weights: dict[str, float] = field(default_factory=dict)
    peers: tuple[PeerSettings, ...] = ()


class ThingSchema(ServerSchema):
    settings_class: ClassVar[type] = ThingSettings

    database = fields.String()
    weights = fields.Dict(keys=fields.String(), values=fields.Float(validate=validate.Range(0, 1)))
    peers = fields.List(fields.Nested(PeerSchema()))


def load(folder: Path, text: str, **environ: str) -> ThingSettings:
    path = folder / "thing.yaml"
    path.write_text(text, "utf-8")
    settings = load_settings(path, ThingSchema(), environ)
    assert isinstance(settings, ThingSettings)
    return settings


def faults(folder: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(folder, text, **environ)
    assert all(fault in str(caught.value) for fault in caught.value.faults)
    return caught.value.faults


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings == ThingSettings()
    assert settings.listen == ListenAddress("127.0.0.1", 8080)
    assert settings.authentication.enabled
    assert settings.authentication.reads is Reads.PUBLIC


def test_every_section_is_read_into_its_dataclass(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        listen: "[::1]:0"
        public_url: https://broker.example.org/api
        log_format: json
        admin: {username: admin, password_env: ADMIN_PASSWORD}
        authentication: {enabled: false, reads: owner}
        weights: {speed: 0.5}
        peers:
          - {name: alpha, url: "http://127.0.0.1:8090", tags: [a, b]}
          - name: beta
            url: http://localhost:8091
            credentials: {type: basic, username: head, password_env: BETA_PASSWORD}
        """,
        ADMIN_PASSWORD="one",
        BETA_PASSWORD="two",
    )
    assert settings.listen == ListenAddress("::1", 0)
    assert settings.log_format is LogFormat.JSON
    assert settings.admin is not None
    assert settings.admin.password.reveal() == "one"
    assert not settings.authentication.enabled
    alpha, beta = settings.peers
    assert alpha.tags == ("a", "b")
    assert beta.credentials == BasicCredentials(username="head", password=Secret("two"))


def test_all_faults_are_listed_at_once_with_their_paths(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
        listen: nowhere
        colour: green
        weights: {speed: 2}
        admin: {username: "a:b", password_env: ADMIN_PASSWORD}
        peers:
          - {name: alpha, url: "http://127.0.0.1:8090"}
          - {url: not-a-url, credentials: {type: basic, password_env: BETA_PASSWORD}}
          - {name: gamma, url: "http://127.0.0.1:8090", credentials: {type: magic}}
          - 7
        """,
    )
    assert [fault.split(":")[0] for fault in found] == [
        "admin.password",
        "admin.username",
        "colour",
        "listen",
        "peers[1].credentials.password",
        "peers[1].credentials.username",
        "peers[1].name",
        "peers[1].url",
        "peers[2].credentials.type",
        "peers[3]",
        "weights.speed",
    ]
    assert "the environment variable ADMIN_PASSWORD (password_env) is not set" in found[0]
    assert "is not a setting" in found[2]
    assert "must be one of basic, none" in found[8]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen: a:1\nlisten: b:2", "line 2, column 1: 'listen' is given twice"),
        ("authentication: {enabled: true, enabled: false}", "'enabled' is given twice"),
        ("a: [1", "is not YAML: line 2, column 1"),
        ("- 1", "must be a mapping"),
        ("just text", "must be a mapping"),
        ("listen: 8080", "listen: must be a string HOST:PORT"),
        ("listen: 127.0.0.1:99999", "must be HOST:PORT"),
        ("authentication: {enabled: 'yes'}", "authentication.enabled: Not a valid boolean."),
        ("authentication: {reads: nobody}", "authentication.reads: Must be one of: public, owner."),
        ("max_body_bytes: 1e6", "max_body_bytes: Not a valid integer."),
        ("drain_s: -1", "drain_s: "),
        ("public_url: ftp://example.org", "public_url: Not a valid URL."),
        ("? [a]\n: 1", "is not YAML"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in fault for fault in faults(tmp_path, text))


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "missing.yaml", ThingSchema())
    (tmp_path / "latin.yaml").write_bytes(b"listen: \xe9")
    with pytest.raises(SettingsError, match="UTF-8"):
        load_settings(tmp_path / "latin.yaml", ThingSchema())


def test_a_merge_key_may_be_overridden(tmp_path: Path) -> None:
    text = """
    peers:
      - &alpha {name: alpha, url: "http://127.0.0.1:8090"}
      - {<<: *alpha, name: beta}
    """
    assert [peer.name for peer in load(tmp_path, text).peers] == ["alpha", "beta"]


def test_a_secret_in_the_file_itself_is_refused(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "admin: {username: admin, password: hunter2}")
    assert fault.startswith("admin.password: does not belong in this file")
    assert "password_env" in fault
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{username: a}", "is missing: give password_env or password_file"),
        ("{username: a, password_env: X, password_file: y}", "not both"),
        ("{username: a, password_env: EMPTY}", "is empty"),
        ("{username: a, password_env: 3}", "must be the name of a variable"),
        ("{username: a, password_file: 3}", "must be the name of a file"),
        ("{username: a, password_file: missing.txt}", "cannot be read: No such file"),
        ("{username: a, password_file: .}", "cannot be read: Is a directory"),
        ("{username: a, password_file: empty.txt}", "is empty"),
        ("{username: a, password_file: binary.txt}", "is not UTF-8 text"),
        ("{username: a, password_file: large.txt}", "is larger than"),
    ],
)
def test_a_secret_that_is_not_there_says_why(tmp_path: Path, section: str, expected: str) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "large.txt").write_bytes(b"x" * 70_000)
    (fault,) = faults(tmp_path, f"admin: {section}", EMPTY="")
    assert fault.startswith("admin.password: ")
    assert expected in fault


def test_a_secret_may_be_in_a_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("päss word\n", "utf-8")
    settings = load(tmp_path, "admin: {username: admin, password_file: secret.txt}")
    assert settings.admin is not None
    assert settings.admin.password.reveal() == "päss word"


def test_no_secret_is_shown(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        admin: {username: admin, password_env: ADMIN_PASSWORD}
        database: postgresql://broker:hunter2@db.example.org/broker
        peers:
          - name: beta
            url: http://localhost:8091
            credentials: {type: basic, username: head, password_env: ADMIN_PASSWORD}
        """,
        ADMIN_PASSWORD="hunter2",
    )
    shown: Any = describe(settings)
    text = json.dumps(shown) + repr(settings).replace(settings.database, "") + str(settings.admin)
    assert "hunter2" not in text
    assert shown["admin"] == {"username": "admin", "password": "***"}
    assert shown["database"] == "postgresql://broker:***@db.example.org/broker"
    assert shown["listen"] == "127.0.0.1:8080"
    assert shown["log_format"] == "auto"
    assert shown["peers"][0]["credentials"]["username"] == "head"


def test_secrets_compare_by_what_they_hide() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert f"{Secret('a')!r} {Secret('a')}" == "*** ***"


@pytest.mark.parametrize("text", ["127.0.0.1:0", "localhost:8080", "[::1]:65535", "0.0.0.0:80"])
def test_a_listen_address_reads_as_it_was_written(text: str) -> None:
    assert str(parse_listen(text)) == text


@pytest.mark.parametrize("text", ["", ":80", "host", "host:", "::1:80", "a b:80", "host:65536"])
def test_what_is_no_listen_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_listen(text)
