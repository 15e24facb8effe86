"""Every seed and every input that once broke a promise, again; no fuzzer is needed."""

from pathlib import Path

import pytest

from tests.fuzz.target import CORPUS_DIR, kept, load, module_of, names

KEPT = [(name, path) for name in names() for path in kept(name)]


@pytest.mark.parametrize("name", names())
def test_the_seeds_keep_every_promise(name: str) -> None:
    target = load(module_of(name))
    seeds = list(target.seeds())
    assert seeds
    for data in (b"", b"\xff\xfe", *seeds):
        target.run(data)


@pytest.mark.parametrize(("name", "path"), KEPT, ids=[f"{n}-{path.name}" for n, path in KEPT])
def test_what_once_broke_a_promise_keeps_it_now(name: str, path: Path) -> None:
    load(module_of(name)).run(path.read_bytes())


def test_nothing_is_kept_for_a_target_that_is_gone() -> None:
    assert {path.name for path in CORPUS_DIR.iterdir()} <= set(names())
