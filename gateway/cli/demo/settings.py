"""The settings of the demo's services: the examples of ``config/``, with what the demo needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.lake import SITE_OF, lake_sections
from gateway.wire.documents import Document

CONFIG: Final = Path(__file__).parents[3] / "config"
"""The example settings and requests of a checkout."""

NODES: Final = ("alpha", "beta", "gamma")
"""The nodes, by the name of their example."""

SERVICE_USERNAME: Final = "gateway"
"""The account that the gateway has at each node."""

STAGING: Final[Document] = {
    "schemes": ["http"],
    "hosts": ["127.0.0.1"],
    "private_addresses": True,
}
"""Nodes of the demo fetch from this machine: its archive is the only one they may ask."""


ESTIMATE_S: Final = 10.0
"""Three nodes share one container engine here, and perhaps a busy machine."""

FRESH_S: Final = 0.2
"""Nobody else reads the gateway of a demo: it may ask a node more often than others should."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The settings file of a service, and the passwords that go into its environment."""

    document: Document
    admin_username: str
    admin_password: str
    environ: Mapping[str, str]


def node_settings(name: str, platform: Document, admin_password: str) -> ServiceSettings:
    """A node of the examples, on a platform that really runs something."""
    document = _example(f"node-{name}.yaml")
    document |= {"platform": platform, "staging": STAGING, "site": SITE_OF[name]}
    document["offers"] |= {"estimate_timeout_s": ESTIMATE_S}
    return _with_admin(document, admin_password, {})


def gateway_settings(
    node_urls: Mapping[str, str], node_passwords: Mapping[str, str], admin_password: str
) -> ServiceSettings:
    """The gateway of the examples over these nodes, with its account at each, and a data lake.

    The lake's catalogue has to lie beside the settings.
    """
    document = _example("gateway.yaml") | lake_sections()
    document["nodes"] = [node for node in document["nodes"] if node["name"] in node_urls]
    document["sessions"] |= {"fresh_s": FRESH_S}
    environ: dict[str, str] = {}
    for node in document["nodes"]:
        variable = f"{node['name'].upper()}_PASSWORD"
        node["url"] = node_urls[node["name"]]
        node["site"] = SITE_OF[node["name"]]
        node["credentials"] = {
            "type": "basic",
            "username": SERVICE_USERNAME,
            "password_env": variable,
        }
        environ[variable] = node_passwords[node["name"]]
    return _with_admin(document, admin_password, environ)


def _example(name: str) -> Document:
    try:
        document = yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise DemoError(f"cannot read {CONFIG / name}: {error.strerror}") from error
    document.pop("public_url", None)  # the port is not known before it listens
    return dict(document)


def _with_admin(document: Document, password: str, environ: Mapping[str, str]) -> ServiceSettings:
    admin = document["admin"]
    passwords = {**environ, admin["password_env"]: password}
    return ServiceSettings(document, admin["username"], password, passwords)
