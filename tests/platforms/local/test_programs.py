"""From an executable to a program, and what is refused on the way."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.phases import MessageLevel
from node_stub.appraisal import Remark
from node_stub.platforms.local import programs, reasons
from node_stub.platforms.local.programs import resolve_program
from node_stub.platforms.local.sandbox import is_below, is_reserved, target_of
from node_stub.platforms.local.settings import SYSTEM_PATHS, ProgramSettings
from node_stub.platforms.runner import SESSION_HOME
from node_stub.reasons import Reason
from tests.platforms.local.jobs import Bench

DIGEST = "sha256:" + "0" * 64
OTHER = "sha256:" + "1" * 64

KNOWN = ProgramSettings(
    images=("site/tool:1", "mirror/tool:1"),
    command=("/usr/bin/tool", "--fast"),
    digest=DIGEST,
    environment={"MODE": "site", "KEEP": "1"},
    entrypoints={"check": ("/usr/bin/tool-check",)},
)
PROGRAMS = (KNOWN,)


def executable(*locations: str, digest: str | None = None, **more: Any) -> Document:
    image = {"locations": list(locations), **({"digest": digest} if digest else {})}
    return {"kind": kinds.DOCKER_CONTAINER, "image": {**image, **more.pop("image", {})}, **more}


def refusals(document: Document) -> list[tuple[Reason, str]]:
    return [(remark.reason, remark.path) for remark in resolve_program(PROGRAMS, document).remarks]


def test_an_image_stands_for_its_program() -> None:
    document = executable(
        "docker.io/other:2",
        "mirror/tool:1",
        digest=DIGEST,
        command=["--out", "x"],
        environment={"MODE": "asked"},
    )
    found = resolve_program(PROGRAMS, document)
    assert found.invocation is not None
    assert found.invocation.argv == ("/usr/bin/tool", "--fast", "--out", "x")
    assert found.invocation.environment == {"MODE": "asked", "KEEP": "1"}


def test_a_declared_entrypoint_replaces_the_command() -> None:
    found = resolve_program(PROGRAMS, executable("site/tool:1", entrypoint="check", command=["a"]))
    assert found.invocation is not None
    assert found.invocation.argv == ("/usr/bin/tool-check", "a")


@pytest.mark.parametrize(
    ("document", "refusal"),
    [
        (executable("site/none:1"), (reasons.PROGRAM_UNKNOWN, "/executable/image/locations")),
        (executable(), (reasons.PROGRAM_UNKNOWN, "/executable/image/locations")),
        (
            executable("site/tool:1", digest=OTHER),
            (reasons.DIGEST_DIFFERS, "/executable/image/digest"),
        ),
        (
            executable("site/tool:1", entrypoint="/bin/sh"),
            (reasons.ENTRYPOINT_UNKNOWN, "/executable/entrypoint"),
        ),
        (
            executable("site/tool:1", command=["a", "b\0c"]),
            (reasons.ARGUMENT_BAD, "/executable/command/1"),
        ),
        (
            executable("site/tool:1", command=["\ud800"]),
            (reasons.ARGUMENT_BAD, "/executable/command/0"),
        ),
        (
            executable("site/tool:1", environment={"A=B/~": "x"}),
            (reasons.ENVIRONMENT_NAME, "/executable/environment/A=B~1~0"),
        ),
        (
            executable("site/tool:1", environment={"": "x"}),
            (reasons.ENVIRONMENT_NAME, "/executable/environment/"),
        ),
        (
            executable("site/tool:1", environment={"A": "x\0y"}),
            (reasons.ENVIRONMENT_VALUE, "/executable/environment/A"),
        ),
        (
            executable("site/tool:1", network={"ports": [{"internal": {"port": 80}}]}),
            (reasons.PORTS_UNSUPPORTED, "/executable/network/ports/0"),
        ),
        (
            executable("site/tool:1", image={"platform": {"architecture": "vax"}}),
            (reasons.ARCHITECTURE_DIFFERS, "/executable/image/platform/architecture"),
        ),
        (
            executable("site/tool:1", image={"platform": {"os": "windows"}}),
            (reasons.ARCHITECTURE_DIFFERS, "/executable/image/platform/os"),
        ),
    ],
)
def test_what_cannot_be_done_is_refused(document: Document, refusal: tuple[Reason, str]) -> None:
    assert refusals(document) == [refusal]
    assert resolve_program(PROGRAMS, document).invocation is None


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "LD_LIBRARY_PATH", "GLIBC_TUNABLES", "MALLOC_CHECK_", "LOCPATH", "HOME", "PATH"],
)
def test_variables_that_the_system_obeys_cannot_be_set(name: str) -> None:
    document = executable("site/tool:1", environment={name: "x"})
    assert refusals(document) == [(reasons.ENVIRONMENT_RESERVED, f"/executable/environment/{name}")]


def test_the_machines_own_platform_is_accepted() -> None:
    own = programs.ARCHITECTURES.get(os.uname().machine, os.uname().machine)
    document = executable("site/tool:1", image={"platform": {"architecture": own, "os": "linux"}})
    assert refusals(document) == []


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_arguments_follow_the_command_unchanged(arguments: list[str]) -> None:
    found = resolve_program(PROGRAMS, executable("site/tool:1", command=arguments))
    assert found.invocation is not None
    assert found.invocation.argv == (*KNOWN.command, *arguments)


def test_an_invocation_shows_no_environment() -> None:
    document = executable("site/tool:1", environment={"TOKEN": "hidden"})
    assert "hidden" not in repr(resolve_program(PROGRAMS, document))


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/data", "/data"),
        ("//data//in/", "/data/in"),
        ("data/in", "/session/data/in"),
        ("./data", "/session/data"),
        ("", "/session"),
        ("../etc", None),
        ("/data/../etc", None),
        ("/a\0b", None),
    ],
)
def test_a_volume_path_becomes_a_place(path: str, target: str | None) -> None:
    assert target_of(path) == target


@pytest.mark.parametrize(
    "target",
    ["/", "/session", "/usr", "/usr/share/x", "/etc", "/proc/1", "/dev/shm", "/run", "/tmp"],
)
def test_a_volume_cannot_hide_the_system(target: str) -> None:
    assert is_reserved(target, SYSTEM_PATHS)


@pytest.mark.parametrize("target", ["/data", "/session/in", "/tmp/in", "/etcetera", "/volumes/x"])
def test_other_places_are_free(target: str) -> None:
    assert not is_reserved(target, SYSTEM_PATHS)


@given(st.text(st.sampled_from("a./\0")))
def test_no_volume_path_leads_out_of_its_place(path: str) -> None:
    target = target_of(path)
    if target is not None:
        assert target.startswith("/")
        assert ".." not in target.split("/")
        assert path.startswith("/") or is_below(target, SESSION_HOME)


async def volume_remarks(bench: Bench, *volumes: Document) -> tuple[Remark, ...]:
    document = {
        "executable": executable("site/shell:1"),
        "compute": {"kind": kinds.SIMPLE_COMPUTE, "volumes": list(volumes)},
    }
    return (await bench.runner.estimate(document)).remarks[:-1]


async def test_volumes_that_a_sandbox_cannot_mount_are_refused(bench: Bench) -> None:
    found = await volume_remarks(
        bench,
        {"path": "/data", "mode": "READWRITE"},
        {"path": "data", "mode": "READONLY"},
        {"path": "data2", "mode": "READWRITE"},
        {"path": "/usr/bin", "mode": "READWRITE"},
        {"path": "../../etc", "mode": "READWRITE"},
    )
    refused = [(remark.reason, remark.path) for remark in found]
    always = [
        (reasons.VOLUME_RESERVED, "/compute/volumes/3/path"),
        (reasons.VOLUME_RESERVED, "/compute/volumes/4/path"),
    ]
    plainly = [
        (reasons.VOLUME_ABSOLUTE, "/compute/volumes/0/path"),
        (reasons.VOLUME_READ_ONLY, "/compute/volumes/1/mode"),
    ]
    assert refused == (plainly + always if bench.setup.is_plain else always)
    assert bench.runner.can_mount_read_only is not bench.setup.is_plain


async def test_an_offer_says_how_it_would_run(bench: Bench) -> None:
    document = {"executable": executable("site/shell:1"), "compute": {"volumes": []}}
    found = await bench.runner.estimate(document)
    assert [remark.reason for remark in found.remarks] == [reasons.RUNS_IN]
    values = found.remarks[0].values
    assert reasons.RUNS_IN.level is MessageLevel.INFO
    assert values["sandbox"] == bench.setup.choice.value
    assert ("cgroup" in values["memory"]) is ("memory" in bench.setup.groups.where)
    assert found.estimates[kinds.DOCKER_CONTAINER].prepare_s == 1
