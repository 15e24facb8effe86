"""Processes as the kernel shows them: trees, control groups, and how both are ended.

The shim imports this: the standard library only.
"""

import os
import signal
import time
from typing import Final

_REMOVE_WITHIN_S: Final = 1.0


def start_time(pid: int) -> int:
    """When a process began, in ticks since boot: with its id it is that process and no other.

    Raises
    ------
    OSError
        There is no such process, or it has ended and only waits to be collected.
    """
    state, _, ticks = _stat(pid)
    if state in "ZX":
        raise ProcessLookupError(pid)
    return ticks


def boot_id() -> str:
    """Which boot of the machine this is."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        return file.read().strip()


def _stat(pid: int) -> tuple[str, int, int]:
    """State, parent and start time; the name in the middle may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        rest = file.read().rpartition(")")[2].split()
    return rest[0], int(rest[1]), int(rest[19])


def descendants(root: int) -> set[int]:
    """All living processes below one."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib would cost the shim 10 ms
        if name.isdecimal():
            try:
                state, parent, _ = _stat(int(name))
            except (OSError, IndexError):
                continue
            if state not in "ZX":
                children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    ahead = [root]
    while ahead:
        for pid in children.get(ahead.pop(), ()):
            found.add(pid)
            ahead.append(pid)
    return found


def tasks_of(uid: int) -> int:
    """How many processes and threads a user has, as far as we may see: what the kernel counts."""
    count = 0
    for name in os.listdir("/proc"):  # noqa: PTH208  # as above
        if name.isdecimal():
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:  # noqa: PTH116
                    count += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
            except OSError:
                continue  # it has ended
    return count


def members(group: str) -> set[int]:
    """The processes in a control group; none if there is no such group."""
    try:
        with open(f"{group}/cgroup.procs", encoding="ascii") as file:  # noqa: PTH123
            return {int(line) for line in file if line.strip() != "0"}
    except OSError:
        return set()


def send(pids: set[int], number: int) -> None:
    """Signal processes, some of which may have ended."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def kill_groups(groups: list[str]) -> None:
    """End everything in control groups, at once where the kernel can do that."""
    for group in groups:
        try:
            write(f"{group}/cgroup.kill", "1")
        except OSError:
            continue  # version 1, an old kernel, or the group is gone: its members are signalled
    for group in groups:
        send(members(group), signal.SIGKILL)


def remove_groups(groups: list[str], within_s: float = _REMOVE_WITHIN_S) -> list[str]:
    """Remove control groups; what is left is returned. The kernel lets go of them with a delay."""
    deadline = time.monotonic() + within_s
    left = groups
    while left := [group for group in left if not _is_removed(group)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.005)
    return left


def _is_removed(group: str) -> bool:
    try:
        os.rmdir(group)  # noqa: PTH106
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def write(path: str, text: str) -> None:
    """Write to a file of the kernel's.

    Raises
    ------
    OSError
        It refuses, or there is no such file.
    """
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def counter(path: str, key: str) -> int | None:
    """A number of the kernel's: the one after ``key``, or the only one."""
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return None
