"""What a job is given and what it gives back, in every sandbox."""

import asyncio
import os
from pathlib import Path

import pytest

from node_stub.platforms.base import EndReason, JobPhase, JobRefusedError, Stream
from node_stub.platforms.local.settings import ProgramSettings, SandboxChoice
from tests.platforms.local.conftest import Benches
from tests.platforms.local.jobs import DIGEST, Bench, read_only, read_write
from tests.support.waiting import until

HOSTILE = (
    "; rm -rf /",
    "$(touch owned)",
    "`touch owned`",
    "two\nlines",
    "--ro-bind",
    "--",
    "-c",
    "",
    " a  b ",
    "*",
    "'\"\\",
    "ünïcode ☄",
)


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def write_program(folder: Path, text: str) -> Path:
    """A program called `broken`, for everybody, in a directory of its own."""
    path = folder / "bin" / "broken"
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o755)
    return path


async def test_a_job_that_ends_well_is_ok(bench: Bench) -> None:
    spec = bench.spec("echo out; echo err >&2")
    seen = await bench.run(spec)
    assert (seen.phase, seen.reason, seen.exit_code) == (JobPhase.ENDED, EndReason.OK, 0)
    assert (bench.out(spec), bench.err(spec)) == ("out\n", "err\n")
    assert seen.started is not None
    assert seen.ended is not None
    assert seen.started <= seen.ended


async def test_an_exit_code_is_told(bench: Bench) -> None:
    seen = await bench.run(bench.spec("exit 3"))
    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 3)


async def test_a_job_killed_by_a_signal_has_the_code_of_a_shell(bench: Bench) -> None:
    seen = await bench.run(bench.spec("kill -9 $$"))
    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 137)


async def test_a_hint_comes_when_a_job_ends(bench: Bench) -> None:
    spec = bench.spec("true")
    await bench.start(spec)
    await until(lambda: bench.hints == [spec.session])
    assert (await bench.look(spec)).phase is JobPhase.ENDED


async def test_what_was_used_is_measured(bench: Bench) -> None:
    loop = (
        "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; head -c 50M /dev/zero | tail >/dev/null"
    )
    seen = await bench.run(bench.spec(loop))
    assert seen.usage is not None
    assert seen.usage.cpu_s is not None
    assert seen.usage.peak_memory_bytes is not None
    assert 0.05 < seen.usage.cpu_s < 20
    assert 50_000_000 < seen.usage.peak_memory_bytes < 1024**3


async def test_arguments_arrive_as_they_are(bench: Bench) -> None:
    spec = bench.spec(*HOSTILE, image="site/printer:1")
    assert (await bench.run(spec)).exit_code == 0
    assert spec.workspace.log(Stream.STDOUT).read_bytes().decode().split("\0") == [*HOSTILE, ""]
    assert not (spec.workspace.home / "owned").exists()


async def test_the_environment_is_the_requests_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_SECRET", "hidden")
    value = "--unshare-user\n$(id) ünïcode"
    spec = bench.spec("env -0", executable={"environment": {"GREETING": value, "LC_ALL": "C"}})
    await bench.run(spec)
    found = dict(item.split("=", 1) for item in bench.out(spec).split("\0") if item)
    found.pop("_", None)
    assert found.pop("GREETING") == value
    assert found.keys() == {"LC_ALL", "HOME", "PATH", "PWD", "TMPDIR", "LANG", "EXECBROKER_SESSION"}


async def test_descriptors_of_the_broker_stay_with_it(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        spec = bench.spec("readlink /proc/self/fd/*; ls -l /proc/$$/fd")
        await bench.run(spec)
    assert "secret" not in bench.out(spec)


async def test_the_environment_is_on_no_command_line(bench: Bench) -> None:
    spec = bench.spec(
        "echo started; sleep 60", executable={"environment": {"TOKEN": "hidden-text"}}
    )
    await bench.start(spec)
    await bench.says(spec, "started")
    for pid in {bench.shim(spec), *(pid for pid, _ in bench.tree(spec))}:
        assert b"hidden-text" not in command_line(pid)
    assert not list(spec.workspace.run.glob("launch*"))


async def test_the_home_is_the_working_directory_and_kept(bench: Bench) -> None:
    spec = bench.spec('test "$PWD" = "$HOME" && echo made >result && mktemp')
    assert (await bench.run(spec)).exit_code == 0
    assert (spec.workspace.home / "result").read_text() == "made\n"


async def test_a_relative_volume_is_below_the_home(bench: Bench) -> None:
    spec = bench.spec("cat data/deep/input; echo more >data/deep/output; echo x >data/beside")
    source = bench.volume(spec, "s", input="given\n")
    mounts = (read_write(source, "data/deep"),)
    spec = bench.spec_of(spec.executable, mounts=mounts)
    assert (await bench.run(spec)).exit_code == 0, bench.err(spec)
    assert bench.out(spec) == "given\n"
    assert (source / "output").read_text() == "more\n"


async def test_an_absolute_volume_is_where_it_was_asked_for(box: Bench) -> None:
    spec = box.spec("cat /data/in/file && echo x >/data/out/file && ls /data")
    first, second = box.volume(spec, "a", file="given\n"), box.volume(spec, "b")
    mounts = (read_only(first, "/data/in"), read_write(second, "/data/out"))
    spec = box.spec_of(spec.executable, mounts=mounts)
    assert (await box.run(spec)).exit_code == 0, box.err(spec)
    assert box.out(spec) == "given\nin\nout\n"
    assert (second / "file").read_text() == "x\n"


async def test_a_read_only_volume_cannot_be_changed(box: Bench) -> None:
    script = (
        "cd /data; echo x >new; echo x >file; rm file; chmod 777 .; mv file f2; mkdir d; cat file"
    )
    spec = box.spec(f"{script}; touch /session/data/x; umount /data; mount -o remount,rw /data")
    source = box.volume(spec, "s", file="given")
    mounts = (read_only(source, "/data"), read_only(source, "data"))
    spec = box.spec_of(spec.executable, mounts=mounts)
    await box.run(spec)
    assert box.out(spec) == "given"
    assert [path.name for path in source.iterdir()] == ["file"]
    assert (source / "file").read_text() == "given"


async def test_a_huge_log_is_cut_and_says_so(bench: Bench) -> None:
    spec = bench.spec("yes | head -c 20000000; echo done >&2", log_bytes=100_000)
    assert (await bench.run(spec)).exit_code == 0
    log = spec.workspace.log(Stream.STDOUT).read_bytes()
    note = b"\n[19900000 bytes more were dropped: a log holds 100000]\n"
    assert log == b"y\n" * 50_000 + note
    assert bench.err(spec) == "done\n"


async def test_an_unknown_image_is_refused(bench: Bench) -> None:
    spec = bench.spec("true", image="site/unknown:1")
    with pytest.raises(JobRefusedError, match="program-unknown") as caught:
        await bench.runner.prepare(spec)
    assert caught.value.reason is EndReason.IMAGE
    assert (await bench.look(spec)).phase is JobPhase.GONE


async def test_a_program_that_is_not_there_is_refused(new_bench: Benches) -> None:
    program = ProgramSettings(
        images=("site/gone:1",), digest=DIGEST, command=("/usr/bin/no-such-program",)
    )
    bench = await new_bench(programs=(program,))
    with pytest.raises(JobRefusedError, match="does not exist") as caught:
        await bench.runner.prepare(bench.spec(image="site/gone:1"))
    assert caught.value.reason is EndReason.IMAGE


@pytest.mark.parametrize("choice", list(SandboxChoice)[1:], ids=str)
async def test_a_program_that_cannot_be_started_fails(
    choice: SandboxChoice, new_bench: Benches, tmp_path: Path
) -> None:
    broken = write_program(tmp_path, "#!/no/such/interpreter\n")
    program = ProgramSettings(images=("site/broken:1",), digest=DIGEST, command=(str(broken),))
    paths = ("/usr", "/bin", "/lib", "/lib64", str(broken.parent))
    bench = await new_bench(choice, programs=(program,), paths=paths)
    spec = bench.spec(image="site/broken:1")
    seen = await bench.run(spec)
    # As root, bubblewrap starts a program that gives up rights first: it ran, and says 127.
    is_told_apart = choice is not SandboxChoice.BUBBLEWRAP or os.geteuid() != 0
    assert seen.reason is (EndReason.LAUNCH if is_told_apart else EndReason.NONZERO)
    assert "broken" in seen.text + bench.err(spec)


async def test_many_jobs_run_beside_each_other(bench: Bench) -> None:
    specs = [bench.spec(f"sleep 0.2; echo {i}; exit {i}") for i in range(10)]
    await asyncio.gather(*(bench.start(spec) for spec in specs))
    for i, spec in enumerate(specs):
        assert (await bench.end(spec)).exit_code == i
        assert bench.out(spec) == f"{i}\n"
