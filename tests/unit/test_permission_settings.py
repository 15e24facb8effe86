"""The sections that say who may do what, how often, and how long that is remembered."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.config import load_gateway_settings
from gateway.domain.permissions import Limits, Names, Permissions, Rule
from gateway.httpkit.settings import SettingsError, describe
from gateway.wire import kinds


def test_rules_are_read_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        """
        permissions:
          everyone: {may_submit: false}
          groups:
            astronomers:
              may_submit: true
              nodes: {allow: [alpha, beta], deny: [gamma]}
              kinds: {allow: [docker-container, "https://example.org/kinds/executable/own"]}
              max_live_sessions: 4
              together: {max_live_offers: 100}
          owners:
            "oidc:alice@https://iam.example.org/": {max_live_offers: 0}
        rate_limits: {reads_per_s: 20, failed_logins_per_min: null}
        trusted_proxies: [10.0.0.0/8, "::1"]
        audit: {days: 30}
        nodes:
          - {name: alpha, url: "http://127.0.0.1:1", groups: [astronomers], weight: 0.5}
        """
    )
    settings = load_gateway_settings(file)
    assert settings.permissions == Permissions(
        everyone=Rule(may_submit=False),
        groups={
            "astronomers": Rule(
                may_submit=True,
                nodes=Names(frozenset({"alpha", "beta"}), frozenset({"gamma"})),
                kinds=Names(
                    frozenset({kinds.DOCKER_CONTAINER, "https://example.org/kinds/executable/own"})
                ),
                limits=Limits(sessions=4),
                shared=Limits(offers=100),
            )
        },
        owners={"oidc:alice@https://iam.example.org/": Rule(limits=Limits(offers=0))},
    )
    assert settings.rate_limits.reads_per_s == 20
    assert settings.rate_limits.failed_logins_per_min is None
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.audit.days == 30
    profile = settings.nodes[0].to_profile()
    assert profile.groups == {"astronomers"}
    assert profile.weight == 0.5
    assert describe(settings)["permissions"]["everyone"]["may_submit"] is False


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("permissions: {everyone: {kinds: {allow: [dokker]}}}", "permissions.everyone.kinds.allow"),
        ("permissions: {everyone: {together: {}}}", "permissions.everyone.together"),
        ("permissions: {groups: {a: {max_live_offers: -1}}}", "permissions.groups"),
        ("rate_limits: {reads_per_s: 0}", "rate_limits.reads_per_s"),
        ("trusted_proxies: [10.0.0.1/8]", "trusted_proxies"),
        ("audit: {days: 0}", "audit.days"),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, place: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_gateway_settings(file)
    assert [fault for fault in caught.value.faults if fault.startswith(place)], caught.value.faults
