"""What a job cannot see, reach or become."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from node_stub.platforms.base import JobRefusedError
from node_stub.platforms.local.settings import Network, SandboxChoice
from tests.platforms.local.conftest import Benches
from tests.platforms.local.jobs import Bench, read_write
from tests.support.required import required


async def test_nothing_of_the_machine_can_be_read_but_what_is_shown(
    box: Bench, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("hidden")
    script = f"ls / /root /work /home /var {tmp_path} {box.root}; cat {tmp_path}/secret /etc/shadow"
    spec = box.spec(f"{script}; ls -d /sys /run/* /etc/ssh")
    await box.run(spec)
    shown = set(box.out(spec).split())
    assert "hidden" not in shown
    assert shown <= {
        *("/:", "bin", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "session"),
        *("tmp", "usr", "/run/execbroker"),
    }


async def test_our_own_files_of_the_session_are_not_shown(box: Bench) -> None:
    spec = box.spec("ls -a /session /session/.. /run/execbroker")
    await box.run(spec)
    assert "launch.json" not in box.out(spec)
    assert "run.json" not in box.out(spec)


async def test_nothing_but_the_home_and_temporary_files_can_be_written(box: Bench) -> None:
    script = "for d in / /etc /usr /bin /dev /run /run/execbroker /proc /proc/sys/kernel; do"
    spec = box.spec(f"{script} touch $d/x && echo $d; echo x >$d/domainname && echo $d; done")
    await box.run(spec)
    assert box.out(spec) == ""


async def test_shared_memory_is_there_and_bounded(box: Bench) -> None:
    spec = box.spec("head -c 1000 /dev/zero >/dev/shm/x && df -k --output=size /dev/shm /tmp")
    await box.run(spec)
    assert box.out(spec).split()[1:] == ["524288", "524288"]


async def test_only_the_jobs_own_processes_are_seen(box: Bench) -> None:
    spec = box.spec("ls -d /proc/[0-9]*; kill -9 -1; echo survived")
    await box.run(spec)
    assert len(box.out(spec).split()) <= 5


async def test_no_capability_is_left_and_none_can_be_had(bench: Bench) -> None:
    spec = bench.spec("grep -E 'Cap(Prm|Eff|Amb)|NoNewPrivs' /proc/self/status")
    await bench.run(spec)
    found = dict(line.split(":\t") for line in bench.out(spec).splitlines())
    assert found.pop("NoNewPrivs") == "1"
    assert set(found.values()) == {"0" * 16}


async def test_a_job_of_root_runs_as_somebody_without_rights(box: Bench) -> None:
    spec = box.spec("id -u; id -g; id -G; id -un")
    await box.run(spec)
    user = str(box.setup.user)
    assert user != "0"
    assert box.out(spec).split() == [user, user, user, "session"]


async def test_another_user_can_be_chosen(new_bench: Benches) -> None:
    required("root", os.geteuid() == 0, "only root can choose")
    for choice in SandboxChoice.BUBBLEWRAP, SandboxChoice.NAMESPACES:
        bench = await new_bench(choice, run_as_uid=12345)
        spec = bench.spec("id -u; touch mine")
        await bench.run(spec)
        assert bench.out(spec) == "12345\n"
        assert (spec.workspace.home / "mine").stat().st_uid == 12345


async def test_without_a_network_there_is_only_the_jobs_own(new_bench: Benches) -> None:
    for choice in SandboxChoice.BUBBLEWRAP, SandboxChoice.NAMESPACES:
        bench = await new_bench(choice, network=Network.NONE)
        spec = bench.spec("cat /proc/net/dev | tail -n +3 | cut -d: -f1")
        await bench.run(spec)
        assert bench.out(spec).split() == ["lo"]


async def test_a_link_in_the_home_leads_no_volume_out_of_it(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    spec = bench.spec("true")
    mount = read_write(bench.volume(spec, "s"), "data/deep")
    spec = replace(spec, mounts=(mount,))
    (spec.workspace.home / "data").symlink_to(outside)
    await bench.runner.prepare(spec)
    with pytest.raises(JobRefusedError, match="is a link"):
        await bench.runner.launch(spec)
    assert list(outside.iterdir()) == []
