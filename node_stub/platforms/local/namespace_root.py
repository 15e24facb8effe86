"""The sandbox `namespaces`: builds a root directory of what a job may see, and runs the job there.

Started by ``unshare`` as the first process of a new process namespace, with mounts of its own, it
reads what to do as JSON from descriptor 3, and says on descriptor 4 that the program ran, as
bubblewrap would. The standard library only: it is a program of its own, without our package.
"""

import ctypes
import json
import os
import signal
import stat
import sys
from typing import Final, NoReturn, TypedDict

INPUT_FD: Final = 3
STATUS_FD: Final = 4

_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_PROC_FLAGS: Final = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
_MNT_DETACH: Final = 2
_SYS_MOUNT_SETATTR: Final = 442  # the same on every architecture
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_ATTR_RDONLY: Final = 1
_ATTR_NOSUID: Final = 2
_ATTR_NODEV: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_MOST_CAPABILITIES: Final = 64
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS: Final = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_SMALL: Final = "size=1m,mode=755"
_NOT_STARTED: Final = 127
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Bind(TypedDict):
    """A file or directory of the host, and where the job sees it."""

    source: str
    target: str
    is_read_only: bool


class Orders(TypedDict):
    """What to build and to run.

    ``root`` is an empty directory to build on. Parents come before children in ``binds``. With
    ``uid`` the job runs as that user; without, as the present one.
    """

    root: str
    binds: list[Bind]
    tmp_bytes: int
    uid: int | None
    argv: list[str]
    environment: dict[str, str]
    directory: str


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode())
    _checked(_LIBC.mount(*arguments, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def _restrict(target: str, attributes: int, *, is_recursive: bool = True) -> None:
    """Set attributes of a mount, and of all below it."""
    wanted = _MountAttributes(attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if is_recursive else 0
    arguments = (os.fsencode(target), flags, ctypes.byref(wanted), ctypes.sizeof(wanted))
    _checked(_LIBC.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, *arguments), f"restrict {target}")


def _place(root: str, target: str, *, is_directory: bool) -> str:
    """Make what a mount can cover, below the new root; a link on the way would lead out of it."""
    path = root
    parts = target.strip("/").split("/")
    for number, part in enumerate(parts):
        path = f"{path}/{part}"
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            if is_directory or number < len(parts) - 1:
                os.mkdir(path, 0o755)  # noqa: PTH102
            else:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            continue
        if stat.S_ISLNK(mode):
            raise OSError(f"{target} leads over a link")
    return path


def _bind(root: str, bind: Bind) -> None:
    source = os.path.realpath(bind["source"])
    is_directory = os.path.isdir(source)  # noqa: PTH112
    target = _place(root, bind["target"], is_directory=is_directory)
    _mount(source, target, "", _MS_BIND | _MS_REC)
    read_only = _ATTR_RDONLY if bind["is_read_only"] else 0
    _restrict(target, _ATTR_NOSUID | _ATTR_NODEV | read_only)


def _make_devices(root: str) -> None:
    devices = _place(root, "/dev", is_directory=True)
    _mount("tmpfs", devices, "tmpfs", _MS_NOSUID | _MS_NOEXEC, _SMALL)
    for name in _DEVICES:
        target = _place(root, f"/dev/{name}", is_directory=False)
        _mount(f"/dev/{name}", target, "", _MS_BIND)
        _restrict(target, _ATTR_NOSUID, is_recursive=False)
    for name, goal in _LINKS.items():
        os.symlink(goal, f"{devices}/{name}")  # noqa: PTH211


def _make_temporary(root: str, target: str, size: int) -> None:
    place = _place(root, target, is_directory=True)
    _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={size},mode=1777")


def _build(orders: Orders) -> None:
    """Build the root directory and move into it."""
    root = orders["root"]
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, _SMALL)
    _mount("proc", _place(root, "/proc", is_directory=True), "proc", _PROC_FLAGS)
    _make_devices(root)
    for target in ("/tmp", "/dev/shm"):  # noqa: S108  # the job's own
        _make_temporary(root, target, orders["tmp_bytes"])
    for bind in orders["binds"]:
        _bind(root, bind)
    _restrict(f"{root}/dev", _ATTR_RDONLY, is_recursive=False)
    _restrict(root, _ATTR_RDONLY, is_recursive=False)
    os.chdir(root)
    _checked(_LIBC.pivot_root(b".", b"."), "pivot_root")
    _checked(_LIBC.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")


def _forbid_namespaces() -> None:
    """No user namespaces within this one: the job has no business with them."""
    with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("0")


def _drop_privileges(uid: int | None) -> None:
    for number in range(_MOST_CAPABILITIES):
        _LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    _checked(_LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "capabilities")
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _checked(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def _become(orders: Orders, failure: int) -> NoReturn:
    """In the child: turn into the program, or write to ``failure``."""
    try:
        os.setsid()
        os.set_inheritable(STATUS_FD, False)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # Python has changed them
            signal.signal(number, signal.SIG_DFL)
        os.chdir(orders["directory"])
        _drop_privileges(orders["uid"])
        os.execve(  # noqa: S606  # without a shell is what we want
            orders["argv"][0], orders["argv"], orders["environment"]
        )
    except OSError as error:
        os.write(2, f"sandbox: cannot run {orders['argv'][0]}: {error.strerror}\n".encode())
        os.write(failure, b"!")
    finally:
        os._exit(_NOT_STARTED)


def _run(orders: Orders) -> int:
    """Run the program, and collect whatever ends, until the program itself has."""
    reader, writer = os.pipe()  # the program's start closes it
    child = os.fork()
    if child == 0:
        _become(orders, writer)
    os.close(writer)
    has_failed = bool(os.read(reader, 1))
    while True:
        pid, status = os.wait()
        if pid == child:
            break
    code = os.waitstatus_to_exitcode(status)
    code = 128 - code if code < 0 else code
    if not has_failed:
        os.write(STATUS_FD, json.dumps({"exit-code": code}).encode() + b"\n")
    return code


def main() -> NoReturn:
    """Do as the orders say; the end of this process is the end of all within."""
    with os.fdopen(INPUT_FD, encoding="utf-8") as file:
        orders: Orders = json.load(file)
    try:
        if orders["uid"] is None:
            _forbid_namespaces()
        _build(orders)
    except OSError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(_run(orders))


if __name__ == "__main__":
    main()
