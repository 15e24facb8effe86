"""Which issuers a settings file may name."""

import json
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

from gateway.config import load_gateway_settings
from gateway.httpkit.bearer.settings import ALGORITHMS, IssuerSettings
from gateway.httpkit.server_settings import AuthenticationSchema, AuthenticationSettings
from gateway.httpkit.settings import SettingsError, describe
from tests.support.authority import Authority

GOOD: dict[str, Any] = {"issuer": "https://idp.example.org/", "audiences": ["us"]}


def loaded(*issuers: dict[str, Any], **more: Any) -> AuthenticationSettings:
    settings = AuthenticationSchema().load({"issuers": list(issuers), **more})
    assert isinstance(settings, AuthenticationSettings)
    return settings


def test_an_issuer_needs_its_url_and_audiences_and_keeps_the_letter_of_both() -> None:
    (issuer,) = loaded(GOOD).issuers
    assert issuer == IssuerSettings(issuer="https://idp.example.org/", audiences=("us",))
    assert issuer.algorithms == ALGORITHMS
    local = GOOD | {"issuer": "http://127.0.0.1:8000", "allow_http": True}
    assert len(loaded(GOOD, local).issuers) == 2


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"issuer": "http://idp.example.org/"}, "https://"),
        ({"issuer": "http://idp.example.org/", "allow_http": True}, "https://"),
        ({"issuer": "http://127.0.0.1.example.org/", "allow_http": True}, "https://"),
        ({"issuer": "https://user@idp.example.org/"}, "user"),
        ({"issuer": "https://idp.example.org/?x"}, "query"),
        ({"issuer": "https://idp.example.org/a b"}, "space"),
        ({"issuer": "https://["}, "not a URL"),
        ({"audiences": []}, "Shorter"),
        ({"algorithms": ["none"]}, "Must be one of"),
        ({"algorithms": ["HS256"]}, "Must be one of"),
        ({"algorithms": []}, "Shorter"),
        ({"required_groups": []}, "Shorter"),
        ({"leeway_s": 3601}, "less than"),
        ({"client_secret": "x"}, "not a setting"),
    ],
)
def test_what_would_not_be_safe_is_refused(more: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        loaded(GOOD | more)
    assert fault in json.dumps(caught.value.messages)


def test_one_issuer_has_one_set_of_rules_and_counts_only_where_somebody_is_asked() -> None:
    with pytest.raises(ValidationError, match="given twice"):
        loaded(GOOD, GOOD)
    with pytest.raises(ValidationError, match=r"authentication\.enabled"):
        loaded(GOOD, enabled=False)


def test_authorities_are_in_a_file_beside_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    trust = {"issuers": [GOOD | {"ca_file": "ca.pem"}]}
    file.write_text(json.dumps({"authentication": trust}))
    for text in (None, "no certificate"):
        if text is not None:
            (tmp_path / "ca.pem").write_text(text)
        with pytest.raises(SettingsError, match="no certificate"):
            load_gateway_settings(file)
    (tmp_path / "ca.pem").write_bytes(Authority(tmp_path).file.read_bytes())
    (issuer,) = load_gateway_settings(file).authentication.issuers
    assert issuer.ca_file == tmp_path / "ca.pem"


def test_what_is_in_force_can_be_shown() -> None:
    assert describe(loaded(GOOD))["issuers"][0]["issuer"] == "https://idp.example.org/"
