"""What a container is given, and what is kept from it: as it finds it itself."""

import json
from pathlib import Path

import aiohttp
import pytest

from node_stub.platforms.base import EndReason, JobPhase, JobRefusedError, PlatformError, Stream
from node_stub.platforms.docker.settings import JobUser, NetworkMode, SiteMount
from node_stub.platforms.runner import Mount
from tests.platforms.docker.bench import Bench
from tests.platforms.docker.conftest import Benches
from tests.support.engines import Engine

HOSTILE = ["a b", "$(id)", "`id`", "; id", "-x", "--privileged", "", "é\n\t\"'\\", "%s{}"]


async def printed(bench: Bench, script: str, **over: object) -> list[str]:
    """The lines that a shell script prints in a container."""
    spec = bench.spec("sh", "-c", script, **over)
    seen = await bench.run(spec)
    assert seen.reason is EndReason.OK, (seen, bench.log(spec))
    return bench.log(spec).decode().splitlines()


async def test_arguments_and_environment_arrive_as_they_are(bench: Bench) -> None:
    environment = {f"V{i}": value for i, value in enumerate(HOSTILE)}
    spec = bench.spec(*HOSTILE, executable={"entrypoint": "/bin/echo", "environment": environment})
    await bench.run(spec)
    assert bench.log(spec).decode() == " ".join(HOSTILE) + "\n"
    shown = bench.inspect(spec)["Config"]
    assert {f"{name}={value}" for name, value in environment.items()} == {
        item for item in shown["Env"] if item.startswith("V")
    }


async def test_the_environment_of_the_broker_is_not_the_jobs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EB_SECRET", "of the broker")
    lines = await printed(bench, "env")
    assert "HOME=/session" in lines
    assert not [line for line in lines if "EB_SECRET" in line]


async def test_the_home_is_the_working_directory_and_stays(bench: Bench) -> None:
    spec = bench.spec("sh", "-c", "pwd; echo result > out.txt")
    await bench.run(spec)
    assert bench.log(spec) == b"/session\n"
    assert (spec.workspace.home / "out.txt").read_text() == "result\n"


async def test_the_root_cannot_be_written_to_but_tmp_can(bench: Bench) -> None:
    script = (
        "echo x > /bin/new && echo root; echo x > /tmp/new && cat /tmp/new; df -m /tmp | tail -1"
    )
    lines = await printed(bench, script)
    assert lines[0] == "x"
    assert lines[1].split()[1] == "256"


async def test_nothing_more_can_be_done_than_any_program_can(bench: Bench) -> None:
    status = await printed(bench, "cat /proc/self/status")
    found = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        assert int(found[name], 16) == 0, name
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"


async def test_a_capability_that_the_site_allows_is_kept(
    engine: Engine, new_bench: Benches
) -> None:
    bench = await new_bench(engine, capabilities=("CHOWN",))
    status = await printed(bench, "cat /proc/self/status")
    found = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert int(found["CapEff"], 16) == 1  # CAP_CHOWN is bit 0


async def test_no_more_processes_are_made_than_allowed(engine: Engine, new_bench: Benches) -> None:
    bench = await new_bench(engine, processes=16)
    spec = bench.spec("sh", "-c", "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; wait")
    await bench.run(spec)
    host = bench.inspect(spec)["HostConfig"]
    assert host["PidsLimit"] == 16
    assert b"fork" in bench.log(spec, Stream.STDERR)


async def test_processor_and_memory_are_limited(bench: Bench) -> None:
    spec = bench.spec("true", cores=2, memory_gib=3)
    await bench.run(spec)
    host = bench.inspect(spec)["HostConfig"]
    assert host["NanoCpus"] == 2_000_000_000
    assert host["Memory"] == host["MemorySwap"] == 3 << 30
    assert host["Privileged"] is False


async def test_volumes_lie_where_they_should_and_read_only_is_enforced(bench: Bench) -> None:
    script = (
        "cat /data/in/x; cat /session/rel/x; cat '/odd place/x'; "
        "echo new > /data/in/y || echo refused; echo new > rel/y"
    )
    volumes = [("in", "/data/in", True), ("rel", "rel", False), ("odd", "/odd place", True)]
    spec = bench.spec("sh", "-c", script, volumes=volumes)
    await bench.run(spec)
    assert bench.log(spec).decode().splitlines() == ["in", "rel", "odd", "refused"]
    assert not (spec.workspace.storage / "in" / "y").exists()
    assert (spec.workspace.storage / "rel" / "y").read_text() == "new\n"


async def test_what_the_site_shows_is_seen_read_only(
    engine: Engine, new_bench: Benches, tmp_path: Path
) -> None:
    software = tmp_path / "software"
    software.mkdir()
    (software / "tool").write_text("tool\n")
    bench = await new_bench(
        engine, site_mounts=(SiteMount(source=str(software), target="/cvmfs/site"),)
    )
    script = "cat /cvmfs/site/tool; echo x > /cvmfs/site/new || echo refused"
    assert await printed(bench, script) == ["tool", "refused"]


async def test_a_published_port_is_reached_where_it_is_said_to_be(bench: Bench) -> None:
    ports = [
        {"internal": {"port": 9}},
        {"access": True, "protocol": "HTTP", "path": "out.txt", "internal": {"port": 8080}},
        {"access": True, "protocol": "TCP", "internal": {"port": 8080}},
    ]
    script = "echo found > out.txt; sleep 1; exec httpd -f -p 8080 -h /session"
    spec = bench.spec("sh", "-c", script, executable={"network": {"ports": ports}})
    await bench.start(spec)
    assert (await bench.look(spec)).reachable == (), "nobody listens yet"
    seen = await bench.becomes_reachable(spec, 2)
    assert [one.port for one in seen.reachable] == [1, 2]
    location = seen.reachable[0].location
    assert location.startswith("http://127.0.0.1:")
    async with aiohttp.ClientSession() as session, session.get(location) as response:
        assert await response.text() == "found\n"
    assert seen.reachable[1].location == location.replace("http", "tcp").removesuffix("/out.txt")


async def test_a_udp_port_is_named_as_soon_as_the_container_runs(bench: Bench) -> None:
    ports = [{"access": True, "protocol": "UDP", "internal": {"port": 5000}}]
    spec = bench.spec("sleep", "60", executable={"network": {"ports": ports}})
    await bench.start(spec)
    seen = await bench.becomes_reachable(spec, 1)
    assert seen.reachable[0].location.startswith("udp://127.0.0.1:")


async def test_a_container_without_ports_reaches_nobody(engine: Engine, new_bench: Benches) -> None:
    bench = await new_bench(engine)
    assert await printed(bench, "ls /sys/class/net") == ["lo"]
    bench = await new_bench(engine, network=NetworkMode.BRIDGE)
    assert len(await printed(bench, "ls /sys/class/net")) > 1


async def test_a_job_runs_as_the_broker_where_the_site_says_so(
    engine: Engine, new_bench: Benches
) -> None:
    bench = await new_bench(engine, user=JobUser.BROKER)
    spec = bench.spec("id", "-u")
    await bench.run(spec)
    assert bench.inspect(spec)["Config"]["User"] == "0:0"


async def test_a_volume_that_is_not_there_is_no_empty_directory(bench: Bench) -> None:
    gone = Mount(bench.root / "gone", "/data", is_read_only=True)
    spec = bench.spec("true", mounts=(gone,))
    await bench.ready(spec)
    with pytest.raises(PlatformError):
        await bench.runner.launch(spec)
    assert not gone.source.exists()
    assert (await bench.look(spec)).phase is JobPhase.READY


@pytest.mark.parametrize("target", ["/data:rw", "/data,rw", "/data:rw,U", "/da\nta"])
async def test_no_volume_gets_options_by_its_path(bench: Bench, target: str) -> None:
    spec = bench.spec("true", volumes=[("in", target, True)])
    await bench.ready(spec)
    with pytest.raises(JobRefusedError):
        await bench.runner.launch(spec)
    assert bench.containers() == []


async def test_a_container_says_whose_it_is(bench: Bench) -> None:
    spec = bench.spec("true")
    await bench.run(spec)
    labels = bench.inspect(spec)["Config"]["Labels"]
    assert labels["org.execbroker.session"] == str(spec.session)
    assert json.dumps(labels).count(str(spec.session)) == 1
