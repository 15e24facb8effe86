"""The shim of one job: starts it, keeps its limits and logs, ends its whole tree, says how it went.

A process of its own that goes on whatever becomes of the broker. It imports nothing but the
standard library and three modules beside this one, so that it starts quickly. What the broker reads
of it are ``run.json`` (it has the job; made once, whoever tries) and ``exit.json`` (nothing of the
job is running any more), both beside the launch file. ``stop.json`` and SIGTERM ask it to end the
job. If it is killed, the kernel ends a sandbox with it; what remains of a job without one is ended
by the next look of a broker, by its control groups or by the mark in its environment.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import time
from typing import Final

from node_stub.platforms.local.process_tree import (
    boot_id,
    counter,
    remove_groups,
    start_time,
    write,
)
from node_stub.platforms.local.shim_files import (
    CLAIMED,
    EXIT_FILE,
    RUN_FILE,
    Exit,
    Launch,
    Meters,
    Run,
    asked_to_stop,
    put,
    write_new,
)
from node_stub.platforms.local.shim_job import Job

BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]);"
    "from node_stub.platforms.local.shim import main; main(sys.argv[2])"
)
"""The program that runs the shim: its arguments are our package's folder and the launch file."""

_PR_SET_CHILD_SUBREAPER: Final = 36
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def outcome(job: Job, launch: Launch) -> tuple[str, int, str]:
    """Why it ended, its exit code as a shell gives it, and what more there is to say."""
    code = os.waitstatus_to_exitcode(job.status or 0)
    code = 128 - code if code < 0 else code
    if job.ending:
        return job.ending, code, ""
    if code == 0:
        return "OK", code, ""
    if counter(launch["meters"]["oom"], "oom_kill"):
        return "OOM", code, "it needed more memory than was asked for"
    if code == 128 + signal.SIGXFSZ:
        return "STORAGE", code, "it wrote a file larger than the storage asked for"
    if not job.has_run and os.WIFEXITED(job.status or 0):
        return "LAUNCH", code, "the sandbox could not start the program; see stderr"
    return launch["reasons"].get(str(code), "NONZERO"), code, ""


def supervise(run: str, launch: Launch, signals: int) -> Exit:
    """Run the job to its end."""
    if asked_to_stop(run) is not None:
        return _ended("CANCELLED", None, "it was stopped before it was started")
    groups = [group["path"] for group in launch["groups"]]
    job = Job(run, launch, signals)
    started = time.time()
    try:
        for group in launch["groups"]:
            os.makedirs(group["path"], exist_ok=True)  # noqa: PTH103
            for name, value in group["writes"]:
                write(f"{group['path']}/{name}", value)
        job.start()
    except OSError as error:
        job.clear()
        remove_groups(groups)
        return _ended("LAUNCH", None, f"it could not be started: {error}")
    job.wait()
    job.clear()
    reason, code, text = outcome(job, launch)
    ended = _ended(reason, code, text, started)
    _measure(ended, launch["meters"])
    remove_groups(groups)
    return ended


def _ended(reason: str, code: int | None, text: str, started: float | None = None) -> Exit:
    return {
        "reason": reason,
        "code": code,
        "text": text,
        "started": started,
        "ended": time.time(),
        "cpu_s": None,
        "peak_bytes": None,
    }


def _measure(ended: Exit, meters: Meters) -> None:
    """What it used, by its groups or else by what the kernel tells of collected children."""
    cpu = counter(meters["cpu"], meters["cpu_key"])
    ended["peak_bytes"] = counter(meters["peak"], "")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended["cpu_s"] = used.ru_utime + used.ru_stime if cpu is None else cpu / meters["cpu_per_s"]
    if ended["peak_bytes"] is None:
        ended["peak_bytes"] = used.ru_maxrss * 1024


def claim(run: str, launch: Launch) -> bool:
    """Take the job; whether nobody had it before."""
    mine = f"{run}/{RUN_FILE}.{os.urandom(8).hex()}"
    record: Run = {
        "pid": os.getpid(),
        "start": start_time(os.getpid()),
        "boot": boot_id(),
        "started": time.time(),
        "groups": [group["path"] for group in launch["groups"]],
    }
    write_new(mine, record)
    try:
        os.link(mine, f"{run}/{RUN_FILE}")
    except FileExistsError:
        return False
    finally:
        os.unlink(mine)  # noqa: PTH108
    return True


def _listen() -> int:
    """Where signals can be read from now on, one byte each."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    return reader


def _tell_broker() -> None:
    # It may have died meanwhile; the next one finds the job by its files.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, CLAIMED)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)


def main(path: str) -> None:
    """Run the job of a launch file, unless somebody else has."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what the broker was given, the job is not
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        launch: Launch = json.load(file)
    os.unlink(path)  # noqa: PTH108
    run = os.path.dirname(path)  # noqa: PTH120
    os.setsid()
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signals = _listen()
    if not claim(run, launch):
        return
    _tell_broker()
    put(run, EXIT_FILE, supervise(run, launch, signals))
