"""What is refused before it is offered, and what an offer tells."""

from typing import Any

import pytest

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.phases import MessageLevel
from node_stub.appraisal import Remark
from node_stub.platforms.docker.appraising import remarks_on
from node_stub.platforms.docker.client import EngineInfo
from node_stub.platforms.docker.settings import DockerSettings, SiteMount
from tests.platforms.docker.bench import Bench
from tests.platforms.docker.conftest import Benches
from tests.support.engines import Engine
from tests.support.images import BUSYBOX

INFO = EngineInfo("Docker Engine", "20.10", "amd64", "linux", False, False, "cgroupfs", ())
SETTINGS = DockerSettings(
    site_mounts=(SiteMount(source="/cvmfs", target="/cvmfs"),), registries=("docker.io", "*.ok")
)
DIGEST = "sha256:" + 64 * "a"


def said_of(
    info: EngineInfo = INFO, volumes: tuple[str, ...] = (), **executable: Any
) -> list[Remark]:
    document: Document = {
        "executable": {
            "kind": kinds.DOCKER_CONTAINER,
            "image": {"locations": ["busybox:1"], "digest": DIGEST},
            **executable,
        },
        "compute": {"volumes": [{"path": path} for path in volumes]},
        "storage": [{}],
    }
    return list(remarks_on(document, SETTINGS, info))


def refusals(**over: Any) -> list[tuple[str, str]]:
    return [
        (remark.path, remark.reason.template)
        for remark in said_of(**over)
        if remark.reason.level is MessageLevel.ERROR
    ]


def test_a_sound_request_is_told_how_it_would_run() -> None:
    found = said_of()
    assert [remark.reason.level for remark in found] == [MessageLevel.INFO, MessageLevel.INFO]
    assert found[0].values["engine"] == "Docker Engine 20.10"
    assert found[1].path == "/storage"


@pytest.mark.parametrize(
    ("executable", "path"),
    [
        ({"privileged": True}, "/executable/privileged"),
        ({"image": {"locations": ["a:1"], "digest": "sha256:abc"}}, "/executable/image/digest"),
        ({"image": {"locations": ["A:1"], "digest": DIGEST}}, "/executable/image/locations/0"),
        ({"image": {"locations": ["x.bad/a"], "digest": DIGEST}}, "/executable/image/locations/0"),
        (
            {"image": {"locations": ["a"], "platform": {"architecture": "arm64"}}},
            "/executable/image/platform/architecture",
        ),
        (
            {"image": {"locations": ["a"], "platform": {"os": "windows"}}},
            "/executable/image/platform/os",
        ),
        ({"command": ["a", "b\0c"]}, "/executable/command/1"),
        ({"entrypoint": "b\0c"}, "/executable/entrypoint"),
        ({"environment": {"A=B": "c"}}, "/executable/environment/A=B"),
        ({"environment": {"": "c"}}, "/executable/environment/"),
        ({"environment": {"a/b~": "\0"}}, "/executable/environment/a~1b~0"),
    ],
)
def test_what_cannot_be_done_is_refused_where_it_stands(executable: Document, path: str) -> None:
    assert [place for place, _ in refusals(**executable)] == [path]


def test_a_location_of_no_use_is_passed_over_where_there_is_another() -> None:
    assert not refusals(image={"locations": ["x.bad/a", "y.ok/a"], "digest": DIGEST})


@pytest.mark.parametrize(
    "path",
    [
        "/", "/proc", "/proc/1", "/sys/x", "/dev/shm", "/session", ".", "/session/.", "//proc",
        "/cvmfs", "/cvmfs/x", "/session-input", "/a/../proc", "../x", "x/../../..", "/a:ro",
        "/a,b", "/a\nb",
    ],
)  # fmt: skip
def test_a_volume_hides_nothing_that_every_container_has(path: str) -> None:
    assert [place for place, _ in refusals(volumes=("/fine", path))] == ["/compute/volumes/1/path"]


@pytest.mark.parametrize("path", ["/data", "rel/data", "/session/data", "/process", "/tmp", "a b"])
def test_a_volume_may_lie_elsewhere(path: str) -> None:
    assert not refusals(volumes=(path,))


def test_what_an_engine_cannot_limit_is_not_promised() -> None:
    info = EngineInfo("Podman", "4", "amd64", "linux", True, True, "cgroupfs", ("memory",))
    assert [place for place, _ in refusals(info=info)] == ["/compute"]


async def test_an_image_that_is_here_takes_no_time_to_get(bench: Bench) -> None:
    found = await bench.runner.estimate({"executable": bench.executable("true")})
    assert found.estimates[kinds.DOCKER_CONTAINER].prepare_s == 1
    assert bench.engine.name in found.remarks[0].values["engine"].lower()


async def test_an_image_that_is_not_here_takes_what_the_site_says(
    engine: Engine, new_bench: Benches
) -> None:
    bench = await new_bench(engine, pull_estimate_s=77)
    image = {"locations": ["eb.test/absent:1", BUSYBOX], "digest": DIGEST}
    found = await bench.runner.estimate({"executable": bench.executable("true", image=image)})
    assert found.estimates[kinds.DOCKER_CONTAINER].prepare_s == 77
