"""A wire between two network namespaces, on which this process decides about every IP packet.

Unlike a proxy it ends no connection and answers nothing: what TCP makes of loss, delay and
reordering is the kernel's own. It stands for ``tc netem``, which not every kernel has.
"""

import asyncio
import fcntl
import os
import random
import struct
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tests.support.netns import Namespace, ip

MTU: Final = 1500

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
"""linux/if_tun.h: IP packets, without a header of the device's own."""

_AT_ONCE: Final = 64
"""Packets taken before anybody else on the loop has a turn."""


@dataclass(slots=True)
class Way:
    """What becomes of the packets in one direction; may be changed at any time.

    Each packet takes ``delay_s`` give or take up to ``jitter_s``, so that one overtakes another.
    Packets of more than ``longest_bytes`` vanish without a word: a black hole for path MTU.
    """

    is_cut: bool = False
    delay_s: float = 0.0
    jitter_s: float = 0.0
    lost_share: float = 0.0
    doubled_share: float = 0.0
    longest_bytes: int = MTU
    lost: int = 0
    doubled: int = 0
    overtaking: int = 0
    _latest: float = 0.0
    _random: random.Random = field(default_factory=lambda: random.Random(5))

    def times_of(self, packet: bytes, now: float) -> list[float]:
        """When it is delivered: never, once or twice."""
        is_lost = self._random.random() < self.lost_share
        if self.is_cut or is_lost or len(packet) > self.longest_bytes:
            self.lost += 1
            return []
        is_doubled = self._random.random() < self.doubled_share
        self.doubled += is_doubled
        return [self._time(now) for _ in range(1 + is_doubled)]

    def _time(self, now: float) -> float:
        due = now + max(0.0, self.delay_s + self._random.uniform(-self.jitter_s, self.jitter_s))
        self.overtaking += due < self._latest
        self._latest = max(self._latest, due)
        return due


@dataclass(slots=True)
class Wire:
    """Both directions, as seen from the gateway, and the address at the far end."""

    address: str
    out: Way = field(default_factory=Way)
    back: Way = field(default_factory=Way)

    @property
    def ways(self) -> tuple[Way, Way]:
        """Out and back."""
        return self.out, self.back

    def cut(self) -> None:
        """Let nothing pass any more; nobody is told."""
        self.out.is_cut = self.back.is_cut = True

    def heal(self) -> None:
        """Let everything pass again."""
        self.out.is_cut = self.back.is_cut = False


@asynccontextmanager
async def wire(number: int, near: Namespace, far: Namespace) -> AsyncIterator[Wire]:
    """A wire that is fine as yet; ``number`` is its own among those of ``near``, up to 250."""
    ends = (f"10.77.{number}.1", f"10.77.{number}.2")
    with ExitStack() as stack:
        devices = []
        for namespace, (own, other) in ((near, ends), (far, ends[::-1])):
            device = namespace.run(partial(_device, f"eb{number}", own, other))
            stack.callback(os.close, device)
            devices.append(device)
        made = Wire(ends[1])
        loop = asyncio.get_running_loop()
        pumps = (_Pump(devices[0], devices[1], made.out), _Pump(devices[1], devices[0], made.back))
        for pump in pumps:
            loop.add_reader(pump.source, pump)
            stack.callback(pump.stop)
            stack.callback(loop.remove_reader, pump.source)
        yield made


class _Pump:
    """Carries packets from one device to another as the way allows."""

    def __init__(self, source: int, target: int, way: Way) -> None:
        self.source = source
        self._target = target
        self._way = way
        self._under_way: set[asyncio.TimerHandle] = set()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(self.source, 1 << 16)
            except BlockingIOError:
                return
            for due in self._way.times_of(packet, self._loop.time()):
                self._send_at(due, packet)

    def stop(self) -> None:
        """Forget what is under way."""
        for handle in self._under_way:
            handle.cancel()

    def _send_at(self, due: float, packet: bytes) -> None:
        def send() -> None:
            self._under_way.discard(handle)
            os.write(self._target, packet)

        handle = self._loop.call_at(due, send)
        self._under_way.add(handle)


def _device(name: str, own: str, other: str) -> int:
    """A device in the thread's namespace whose packets come out of the descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    ip("address", "add", own, "peer", other, "dev", name)
    ip("link", "set", name, "up", "mtu", str(MTU))
    return device
