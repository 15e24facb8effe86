"""The job as its shim sees it: started with its limits, served, ended with all its processes.

The shim imports this: the standard library only.
"""

import ctypes
import fcntl
import os
import resource
import select
import signal
import time
from typing import Final

from node_stub.platforms.local.process_tree import descendants, kill_groups, members, send, write
from node_stub.platforms.local.shim_files import Launch, asked_to_stop

_PR_SET_PDEATHSIG: Final = 1
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_MOST_CAPABILITIES: Final = 64
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_FIRST_FREE_FD: Final = 16
_CHUNK: Final = 64 * 1024
_NOT_STARTED: Final = 127
_LAST_READS: Final = 64
"""More than a pipe holds; bounded, for a job may have handed its pipe to somebody else."""


class Log:
    """One log: takes so many bytes, drops the rest, and says at its end how many those were."""

    def __init__(self, path: str, limit: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._limit = limit
        self._room = limit
        self._dropped = 0

    def take(self, data: bytes) -> None:
        """Append what there is room for."""
        kept = data[: self._room]
        try:
            written = os.write(self._file, kept) if kept else 0
        except OSError:  # the disk is full: the job goes on, as it does beyond the limit
            written = 0
        self._room -= written
        self._dropped += len(data) - written

    def close(self) -> None:
        """Add the note of what is missing, if something is."""
        if self._dropped:
            note = f"\n[{self._dropped} bytes more were dropped: a log holds {self._limit}]\n"
            try:
                os.write(self._file, note.encode())
            except OSError:
                self._dropped = 0  # a full disk has no room for the note either
        os.close(self._file)


class Job:
    """The job as it runs. ``ending`` is why it is being ended, empty while it is not."""

    def __init__(self, run: str, launch: Launch, signals: int) -> None:
        self.ending = ""
        self.status: int | None = None
        self.has_run = not launch["is_boxed"]
        self._run = run
        self._launch = launch
        self._signals = signals
        self._pid = 0
        self._said = b""
        self._status_fd = -1
        self._logs: dict[int, Log] = {}
        self._poll = select.poll()
        self._poll.register(signals, select.POLLIN)
        self._end_at = time.monotonic() + launch["end_at"] - time.time()
        self._kill_at = float("inf")

    def start(self) -> None:
        """Start it, in its groups and with its limits.

        Raises
        ------
        OSError
            It cannot be started.
        """
        launch = self._launch
        out, error = os.pipe(), os.pipe()
        status, failure = os.pipe(), os.pipe()
        orders = os.memfd_create("orders", os.MFD_CLOEXEC)
        os.write(orders, launch["input"].encode("utf-8", "surrogateescape"))
        os.lseek(orders, 0, os.SEEK_SET)
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            given = [os.open(os.devnull, os.O_RDONLY), out[1], error[1]]
            if launch["is_boxed"]:
                given += [orders, status[1]]
            _become(launch, given, failure[1], parent)
        for descriptor in (out[1], error[1], status[1], failure[1], orders):
            os.close(descriptor)
        self._logs = {
            out[0]: Log(launch["stdout"], launch["log_bytes"]),
            error[0]: Log(launch["stderr"], launch["log_bytes"]),
        }
        self._status_fd = status[0]
        for descriptor in (out[0], error[0], status[0]):
            os.set_blocking(descriptor, False)
            self._poll.register(descriptor, select.POLLIN)
        with os.fdopen(failure[0], "rb") as reader:
            number = reader.read()
        if number:
            self._reap()
            self._pid = 0
            raise OSError(int(number), os.strerror(int(number)), launch["argv"][0])

    def wait(self) -> None:
        """Serve the job until its first process has ended."""
        while self.status is None:
            soonest = min(self._end_at if not self.ending else self._kill_at, self._kill_at)
            # A poll takes its time as a 32-bit number: an hour is as good as for ever here.
            wait_ms = max(0.0, min(soonest - time.monotonic(), 3600.0)) * 1000
            self._serve(int(wait_ms) + 1)
            self._reap()
            self._look_at_clock()

    def clear(self) -> None:
        """End all that is left, and take what it still wrote."""
        pause_s = 0.001
        while True:
            self._kill()
            if not self._reap() and not self._tree():
                break
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.1)
            self._serve(0)
        for _ in range(_LAST_READS):
            if not self._serve(0):
                break
        for log in self._logs.values():
            log.close()
        self._logs = {}

    def end(self, reason: str, grace_s: float) -> None:
        """Ask all its processes to end; by force once the grace has passed."""
        self._kill_at = min(self._kill_at, time.monotonic() + grace_s)
        if not self.ending and self.status is None:
            self.ending = reason
            # The sandbox's own process would take the others with it at once.
            keeper = {self._pid} if self._launch["is_boxed"] else set()
            send(self._tree() - keeper, signal.SIGTERM)

    def _tree(self) -> set[int]:
        found = descendants(os.getpid())
        for group in self._launch["groups"]:
            found |= members(group["path"])
        return found - {os.getpid()}

    def _kill(self) -> None:
        kill_groups([group["path"] for group in self._launch["groups"]])
        if self.status is None and self._pid and self._launch["is_boxed"]:
            send({self._pid}, signal.SIGKILL)
        # Stopped first, all of them: what forks faster than it is found would never be ended.
        stopped: set[int] = set()
        while fresh := self._tree() - stopped:
            send(fresh, signal.SIGSTOP)
            stopped |= fresh
        send(stopped, signal.SIGKILL)

    def _reap(self) -> bool:
        """Collect what has ended; whether there are children that have not."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pid:
                self.status = status

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        if not self.ending and now >= self._end_at:
            self.end("TIMEOUT", self._launch["grace_s"])
        if self.status is None and now >= self._kill_at:
            self._kill()
            self._kill_at = now + 0.1  # and again, until it has ended

    def _serve(self, wait_ms: int) -> bool:
        """Take signals and output; whether there was any."""
        ready = self._poll.poll(wait_ms)
        for descriptor, _ in ready:
            try:
                data = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                continue
            if descriptor == self._signals:
                self._take_signals(data)
            elif not data:
                self._poll.unregister(descriptor)
            elif descriptor == self._status_fd:
                self._said = (self._said + data)[-_CHUNK:]
                self.has_run = self.has_run or b'"exit-code"' in self._said
            else:
                self._logs[descriptor].take(data)
        return any(descriptor != self._signals for descriptor, _ in ready)

    def _take_signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers:
            grace_s = asked_to_stop(self._run)
            if grace_s is None:  # not the broker: the machine goes down
                self.end("NODE", self._launch["grace_s"])
            else:
                self.end("CANCELLED", grace_s)


def _become(launch: Launch, given: list[int], failure: int, parent: int) -> None:
    """In the child: turn into the job's first process. Never returns."""
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(_NOT_STARTED)
        for group in launch["groups"]:
            write(f"{group['path']}/cgroup.procs", "0")
        for name, value in launch["limits"]:
            number = getattr(resource, name)
            hard = resource.getrlimit(number)[1]
            least = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (least, least))
        if launch["cpus"]:
            os.sched_setaffinity(0, launch["cpus"])
        failure = fcntl.fcntl(failure, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
        moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD) for one in given]
        for place, descriptor in enumerate(moved):
            os.dup2(descriptor, place)
        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if not launch["is_boxed"]:
            _drop_privileges()
        os.umask(0o022)
        os.chdir(launch["directory"])
        os.execve(  # noqa: S606  # without a shell is what we want
            launch["argv"][0], launch["argv"], launch["environment"]
        )
    except OSError as error:
        os.write(failure, str(error.errno).encode())
    finally:
        os._exit(_NOT_STARTED)


def _drop_privileges() -> None:
    """Never gain anything by a program that is set-uid, and as root have no capabilities either."""
    for number in range(_MOST_CAPABILITIES):
        _LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
