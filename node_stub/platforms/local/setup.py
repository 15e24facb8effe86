"""What this machine has to run jobs with, as it was found out when the platform was opened."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node_stub.platforms.local.cgroups import Groups
from node_stub.platforms.local.notebook_python import NotebookPython
from node_stub.platforms.local.sandbox import Tools
from node_stub.platforms.local.settings import LocalSettings, Network, SandboxChoice

NOBODY: Final = 65_534
"""The user without rights of any usual Linux system."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How jobs are run here. ``uid`` is the user they become, None for the broker's own.

    ``paths`` are those of the machine that a job sees, without those that it lacks.
    """

    settings: LocalSettings
    choice: SandboxChoice
    tools: Tools
    uid: int | None
    groups: Groups
    paths: tuple[str, ...]
    notebook: NotebookPython | None = None

    @property
    def is_plain(self) -> bool:
        """Whether there is no sandbox: nothing is hidden, and no volume is mounted."""
        return self.choice is SandboxChoice.PLAIN

    @property
    def user(self) -> int:
        """The number of the user that jobs run as."""
        return os.geteuid() if self.uid is None else self.uid


@dataclass(frozen=True, slots=True)
class Trial:
    """Setups to try, the best first, and why others were left out."""

    setups: tuple[Setup, ...]
    troubles: tuple[str, ...] = field(default=())


def candidates(settings: LocalSettings, groups: Groups) -> Trial:
    """The setups that may work here, as the settings allow them."""
    tools = Tools(*(shutil.which(name) or "" for name in ("bwrap", "unshare", "setpriv")))
    is_root = os.geteuid() == 0
    setups: list[Setup] = []
    troubles: list[str] = []
    for choice in _choices(settings.sandbox, is_root):
        lacking = _lacking(settings, choice, tools, is_root)
        if lacking:
            troubles.append(f"{choice}: {lacking}")
            continue
        uid = (settings.run_as_uid or NOBODY) if is_root else None
        if choice is SandboxChoice.PLAIN:
            uid = None
        paths = tuple(path for path in settings.paths if Path(path).exists())
        without = Groups(groups.prefix)
        setups += [
            Setup(settings, choice, tools, uid, some, paths)
            for some in ((groups, without) if groups.hierarchies else (without,))
        ]
    if settings.sandbox is SandboxChoice.AUTO and is_root:
        troubles.append("plain: root has to ask for it, since it keeps nothing from a job")
    return Trial(tuple(setups), tuple(troubles))


def _choices(wanted: SandboxChoice, is_root: bool) -> Iterator[SandboxChoice]:
    if wanted is not SandboxChoice.AUTO:
        yield wanted
        return
    yield SandboxChoice.BUBBLEWRAP
    yield SandboxChoice.NAMESPACES
    if not is_root:
        yield SandboxChoice.PLAIN


def _lacking(settings: LocalSettings, choice: SandboxChoice, tools: Tools, is_root: bool) -> str:
    """What a sandbox lacks here; empty if nothing."""
    if choice is SandboxChoice.PLAIN:
        if settings.network is Network.NONE:
            return "it cannot keep a job off the network"
        return "it cannot change the user" if settings.run_as_uid is not None else ""
    if choice is SandboxChoice.BUBBLEWRAP:
        if not tools.bwrap:
            return "bwrap is not installed"
        return "setpriv is not installed" if is_root and not tools.setpriv else ""
    return "" if tools.unshare else "unshare is not installed"
