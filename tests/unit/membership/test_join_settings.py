"""The section ``join``: what is taken and what is refused, in the files of both services."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import load_gateway_settings
from gateway.httpkit.membership.settings import MAX_GATEWAYS, PassThroughOffered
from gateway.httpkit.settings import SettingsError, describe
from gateway.wire.documents import Document
from node_stub.config import NodeSettings, load_node_settings
from tests.support.authority import Authority

TOKEN = "ebr_" + "x" * 43
NODE = {"name": "alpha", "capacity": {"cores": 1, "memory_gib": 1, "storage_gib": 1}}
ENVIRON = {"TOKEN": TOKEN, "SPOILT": "two\nlines", "HEAD_PASSWORD": "head-password"}


def loaded(tmp_path: Path, *joins: Document) -> NodeSettings:
    file = tmp_path / "node.yaml"
    file.write_text(yaml.safe_dump(NODE | {"join": list(joins)}))
    return load_node_settings(file, ENVIRON)


def faults_of(tmp_path: Path, *joins: Document) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, *joins)
    return caught.value.faults


def test_a_gateway_to_join_is_a_url_and_a_token(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        {"gateway": "https://head.example.org/broker/", "token_env": "TOKEN"},
        {"gateway": "http://127.0.0.1:8080", "credentials": {"type": "pass_through"}},
    )
    first, second = settings.join
    assert first.gateway == "https://head.example.org/broker"
    assert first.token is not None
    assert first.token.reveal() == TOKEN
    assert second.token is None
    assert second.credentials == PassThroughOffered()


def test_the_authorities_of_a_gateway_are_in_a_file_beside_the_settings(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    join = {"gateway": "https://head.example.org", "ca_file": authority.file.name}
    (settings,) = loaded(tmp_path, join).join
    assert settings.ca_file == authority.file
    for wrong in ("nowhere.pem", "node.yaml"):
        (fault,) = faults_of(tmp_path, join | {"ca_file": wrong})
        assert fault == f"join[0].ca_file: there is no certificate in {tmp_path / wrong}"


def test_no_secret_shows_in_what_is_in_force(tmp_path: Path) -> None:
    credentials = {"type": "basic", "username": "head", "password_env": "HEAD_PASSWORD"}
    join = {"gateway": "http://127.0.0.1:1", "token_env": "TOKEN", "credentials": credentials}
    settings = loaded(tmp_path, join)
    shown = str(describe(settings)) + repr(settings)
    assert TOKEN not in shown
    assert "head-password" not in shown


@pytest.mark.parametrize(
    ("join", "fault"),
    [
        ({}, "join[0].gateway"),
        ({"gateway": "ftp://example.org"}, "join[0].gateway"),
        ({"gateway": "http://user:word@example.org"}, "join[0].gateway"),
        ({"gateway": "http://example.org/?a=b"}, "join[0].gateway"),
        ({"gateway": "http://a", "url": "http://b/#c"}, "join[0].url"),
        ({"gateway": "http://a", "name": "no name"}, "join[0].name"),
        ({"gateway": "http://a", "token": TOKEN}, "join[0].token"),
        ({"gateway": "http://a", "token_env": "SPOILT"}, "join[0].token"),
        ({"gateway": "http://a", "token_env": "NOWHERE"}, "join[0].token"),
        ({"gateway": "http://a", "credentials": {"type": "kerberos"}}, "join[0].credentials.type"),
        ({"gateway": "http://a", "credentials": {"type": "bearer"}}, "join[0].credentials.token"),
        ({"gateway": "http://a", "tokens": "x"}, "join[0].tokens"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(
    tmp_path: Path, join: Document, fault: str
) -> None:
    faults = faults_of(tmp_path, join)
    assert [text for text in faults if text.startswith(fault)], faults
    assert not [text for text in faults if TOKEN in text or "two\nlines" in text]


def test_a_gateway_is_joined_once_and_not_without_end(tmp_path: Path) -> None:
    twice: list[Any] = [{"gateway": "http://a.example"}, {"gateway": "http://a.example/"}]
    assert faults_of(tmp_path, *twice) == ["join[1].gateway: is joined already"]
    many = [{"gateway": f"http://{n}.example"} for n in range(MAX_GATEWAYS + 1)]
    assert [text for text in faults_of(tmp_path, *many) if text.startswith("join:")]


def test_a_gateway_joins_only_with_a_key_to_seal_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef" * 4)
    file = tmp_path / "gateway.yaml"
    settings = {"join": [{"gateway": "http://127.0.0.1:1", "token_env": "TOKEN"}]}
    file.write_text(yaml.safe_dump(settings))
    with pytest.raises(SettingsError) as caught:
        load_gateway_settings(file)
    assert caught.value.faults == ["join: needs secret_key_env or secret_key_file"]
    file.write_text(yaml.safe_dump(settings | {"secret_key_env": "SECRET_KEY"}))
    assert load_gateway_settings(file).join[0].gateway == "http://127.0.0.1:1"
