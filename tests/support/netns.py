"""Network namespaces of the tests' own: networks that exist as long as somebody holds them open.

They have no names, so that nothing is left behind even by tests that were killed, and nothing of
them shows in the machine's own network.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tests.support.required import required

CALL_S: Final = 20.0

_CLONE_NEWNET: Final = 0x40000000
"""linux/sched.h."""

_OWN: Final = "/proc/thread-self/ns/net"

_libc: Final = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class Namespace:
    """A network with nothing in it but a loopback; a context manager that lets go of it."""

    def __init__(self) -> None:
        self._descriptor = _in_thread(_new)

    def __enter__(self) -> "Namespace":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def run(self, act: Callable[[], T]) -> T:
        """What ``act`` gives in there; sockets, devices and programs it makes stay in there."""

        def there() -> T:
            _enter(self._descriptor)
            return act()

        return _in_thread(there)

    def listening(self, address: str) -> socket.socket:
        """A socket that listens in there, on a free port; the caller closes it."""
        return self.run(lambda: socket.create_server((address, 0)))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The running thread is in there until the block ends, and so are threads it starts."""
        home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._descriptor)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)


def need_namespaces() -> None:
    """End the test if this machine gives no namespaces, or no packets to programs."""
    required("netns", _are_there(), "root, network namespaces, /dev/net/tun and iproute2")


def ip(*words: str) -> None:
    """Run iproute2's ``ip`` where the running thread is."""
    subprocess.run(("ip", *words), check=True, capture_output=True, timeout=CALL_S)


def _are_there() -> bool:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
        with Namespace():
            return Path(_OWN).exists()
    except (OSError, subprocess.SubprocessError):
        return False


def _new() -> int:
    _checked(_libc.unshare(_CLONE_NEWNET))
    ip("link", "set", "lo", "up")
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


def _enter(descriptor: int) -> None:
    _checked(_libc.setns(descriptor, _CLONE_NEWNET))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _in_thread(act: Callable[[], T]) -> T:
    """A namespace is a thread's: what is done in a thread of its own concerns no other."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()
