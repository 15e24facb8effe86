"""Control groups as they are found on machines of every age, and what is written to them."""

from pathlib import Path
from uuid import UUID

from node_stub.platforms.local.cgroups import (
    Amounts,
    Groups,
    Hierarchy,
    _delegated,
    arranged,
    parse_hierarchies,
    prefix_of,
)
from node_stub.platforms.local.limits import cpus_for, resource_limits

SESSION = UUID(int=7)
AMOUNTS = Amounts(cores=2, memory_gib=3, processes=64)

HYBRID_MOUNTS = """\
30 25 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/unified rw shared:12 - cgroup2 cgroup2 rw
34 30 0:30 / /sys/fs/cgroup/systemd rw shared:13 - cgroup cgroup rw,name=systemd
"""
HYBRID_MEMBERSHIP = "4:memory:/a/b\n3:cpu,cpuacct:/\n2:name=systemd:/\n0::/\n"


def test_every_hierarchy_of_a_hybrid_machine_is_found() -> None:
    found = parse_hierarchies(HYBRID_MOUNTS, HYBRID_MEMBERSHIP, "/jobs")
    assert found == [
        Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct/jobs"), 1, frozenset({"cpu", "cpuacct"})),
        Hierarchy(Path("/sys/fs/cgroup/memory/jobs"), 1, frozenset({"memory"})),
        Hierarchy(Path("/sys/fs/cgroup/unified/jobs"), 2, frozenset()),
        Hierarchy(Path("/sys/fs/cgroup/systemd/jobs"), 1, frozenset({"name=systemd"})),
    ]


def test_our_own_group_is_found_where_only_a_part_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    mounts = f"1 0 0:1 /docker/c1 {tmp_path} rw - cgroup2 cgroup2 rw"
    assert parse_hierarchies(mounts, "0::/docker/c1/inner\n", None)[0].base == tmp_path / "inner"
    assert parse_hierarchies(mounts, "0::/elsewhere\n", None)[0].base == tmp_path


def test_version_2_is_taken_before_version_1() -> None:
    old = Hierarchy(Path("/old"), 1, frozenset({"memory", "cpu", "pids"}))
    new = Hierarchy(Path("/new"), 2, frozenset({"memory"}))
    idle = Hierarchy(Path("/idle"), 1, frozenset({"blkio"}))
    groups = arranged("eb-x-", [old, idle, new])
    assert groups.hierarchies == (new, old)
    assert groups.where == {"memory": new, "cpu": old, "pids": old}
    assert groups.enforcer("memory", "rlimit") == "cgroup v2"
    assert groups.enforcer("cpu", "rlimit") == "cgroup v1"
    assert Groups("eb-x-").enforcer("cpu", "rlimit") == "rlimit"


def test_limits_of_version_2_are_whole() -> None:
    files = frozenset({"memory.swap.max", "memory.oom.group"})
    new = Hierarchy(Path("/new"), 2, frozenset({"memory", "cpu", "pids"}), files)
    groups, meters = arranged("eb-x-", [new]).plan(SESSION, AMOUNTS)
    assert groups == [
        {
            "path": f"/new/eb-x-{SESSION}",
            "writes": [
                ("memory.max", str(3 * 1024**3)),
                ("memory.swap.max", "0"),
                ("memory.oom.group", "1"),
                ("cpu.max", "200000 100000"),
                ("pids.max", "64"),
            ],
        }
    ]
    assert meters == {
        "oom": f"/new/eb-x-{SESSION}/memory.events",
        "cpu": f"/new/eb-x-{SESSION}/cpu.stat",
        "cpu_key": "usage_usec",
        "cpu_per_s": 1_000_000,
        "peak": f"/new/eb-x-{SESSION}/memory.peak",
    }


def test_a_kernel_without_swap_is_asked_for_no_swap_limit() -> None:
    old = Hierarchy(Path("/old"), 1, frozenset({"memory"}))
    groups, _ = arranged("eb-x-", [old]).plan(SESSION, AMOUNTS)
    assert groups[0]["writes"] == [("memory.limit_in_bytes", str(3 * 1024**3))]


def delegated_tree(path: Path, controllers: str, enabled: str) -> Path:
    """Files as a group of version 2 has them."""
    path.mkdir(parents=True)
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text(enabled)
    return path


def test_controllers_that_are_handed_on_are_used(tmp_path: Path) -> None:
    base = delegated_tree(tmp_path / "own", "cpu memory pids io", "cpu memory pids")
    found = _delegated(Hierarchy(base, 2, frozenset()), is_given=False)
    assert (found.base, found.controllers) == (base, frozenset({"cpu", "memory", "pids"}))


def test_a_leaf_that_was_delegated_leaves_its_parent_to_us(tmp_path: Path) -> None:
    above = delegated_tree(tmp_path / "service", "memory pids", "memory pids")
    leaf = delegated_tree(above / "broker", "memory pids", "")
    (leaf / "cgroup.subtree_control").unlink()  # as the kernel refuses: it has processes
    (leaf / "cgroup.subtree_control").mkdir()
    found = _delegated(Hierarchy(leaf, 2, frozenset()), is_given=False)
    assert (found.base, found.controllers) == (above, frozenset({"memory", "pids"}))


def test_names_differ_between_sets_of_workspaces(tmp_path: Path) -> None:
    assert prefix_of(tmp_path / "a") != prefix_of(tmp_path / "b")
    assert prefix_of(tmp_path / "a") == prefix_of(tmp_path / "b" / ".." / "a")


def test_what_no_group_keeps_is_left_to_resource_limits() -> None:
    bare = dict(resource_limits(AMOUNTS, 5, frozenset(), 10))
    assert bare["RLIMIT_AS"] == 3 * 1024**3
    assert bare["RLIMIT_NPROC"] == 74
    assert bare["RLIMIT_FSIZE"] == 5 * 1024**3
    grouped = dict(resource_limits(AMOUNTS, 5, {"memory", "pids"}, 10))
    assert grouped.keys() == {"RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NOFILE"}


def test_cpus_are_shared_out_in_turn() -> None:
    assert cpus_for(4, [0, 1, 2, 3], 9) == []
    assert cpus_for(2, [0, 1, 2, 3], 3) == [0, 3]
    assert cpus_for(1, [5, 7], 1) == [7]
