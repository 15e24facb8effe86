"""How containers are told apart: whose they are, and of which session."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from node_stub.durable import write_whole

NAME_PREFIX: Final = "eb-"
"""What the name of a container begins with; the session's UUID follows."""

BROKER_FILE: Final = ".docker-broker"
"""The file below the root with what tells this broker's containers from another's."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What all containers of one broker carry. Several brokers may share an engine."""

    label: str
    broker: str

    @property
    def selector(self) -> str:
        """The label that selects this broker's containers."""
        return f"{self.label}.broker={self.broker}"

    def labels(self, session: UUID) -> Mapping[str, str]:
        """The labels of a session's container."""
        return {f"{self.label}.broker": self.broker, f"{self.label}.session": str(session)}

    def session_of(self, labels: Mapping[str, str] | None) -> UUID | None:
        """Whose session a container with these labels is of; None if it is not ours."""
        found = labels or {}
        if found.get(f"{self.label}.broker") != self.broker:
            return None
        try:
            return UUID(found.get(f"{self.label}.session", ""))
        except ValueError:
            return None


def container_name(session: UUID) -> str:
    """The name of a session's container: there can be only one."""
    return f"{NAME_PREFIX}{session}"


def broker_of(root: Path) -> str:
    """The broker whose workspaces are below a root; made up the first time. Blocks."""
    path = root / BROKER_FILE
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        broker = secrets.token_hex(8)
        write_whole(path, broker.encode())
        return broker
