"""Networks for private container engines: a bridge for each, and no rules left behind it."""

import fcntl
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CALL_S: Final = 20.0

PORT_CHAINS: Final = ("CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK")
"""What Podman's network plugin leaves in the host's table of addresses."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A network bridge; ``subnet`` is the first three numbers of its addresses."""

    name: str
    subnet: str


@contextmanager
def own_bridge() -> Iterator[Bridge]:
    """A bridge whose addresses nobody else uses: whoever holds the file of a number has it."""
    with ExitStack() as stack:
        for number in range(1, 250):
            lock = stack.enter_context(Path(f"/tmp/eb-bridge-{number}.lock").open("wb"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            bridge = Bridge(f"eb{number}", f"10.213.{number}")
            # One that is there was left by a test run that was killed.
            _run("ip", "link", "delete", bridge.name, check=False)
            _run("ip", "link", "add", bridge.name, "type", "bridge")
            _run("ip", "address", "add", f"{bridge.subnet}.1/24", "dev", bridge.name)
            _run("ip", "link", "set", bridge.name, "up")
            try:
                yield bridge
            finally:
                _run("ip", "link", "delete", bridge.name)
                Path(lock.name).unlink()
            return
    raise AssertionError("no free bridge")


def _run(*command: str, check: bool = True) -> None:
    subprocess.run(command, check=check, capture_output=True, timeout=CALL_S)


@contextmanager
def port_chains() -> Iterator[None]:
    """Removes what the network plugin leaves in the host's tables, unless it was or is in use."""
    was_there = _chain_rules() is not None
    try:
        yield
    finally:
        if not was_there and _chain_rules() == 0:
            listed = subprocess.run(
                ["iptables", "-w", "-t", "nat", "-S"],
                check=True,
                capture_output=True,
                text=True,
                timeout=CALL_S,
            ).stdout
            # First the rules that lead there or lie in there, then the chains themselves.
            for rule in re.findall(r"^-A (.*CNI-HOSTPORT-.*)$", listed, re.MULTILINE):
                words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', rule)]
                _run("iptables", "-w", "-t", "nat", "-D", *words, check=False)
            for chain in PORT_CHAINS:
                _run("iptables", "-w", "-t", "nat", "-X", chain, check=False)


def _chain_rules() -> int | None:
    """How many ports are published through the plugin; None if it has never been used."""
    listed = subprocess.run(
        ["iptables", "-w", "-t", "nat", "-S", PORT_CHAINS[0]],
        capture_output=True,
        text=True,
        timeout=CALL_S,
        check=False,
    )
    return None if listed.returncode else listed.stdout.count("\n") - 1
