"""Secrets: never shown, and read again when their file has changed."""

from pathlib import Path

import pytest

from gateway.wire import secret as module
from gateway.wire.secret import MAX_SECRET_BYTES, Secret, UnusableSecretError, secret_in_file


@pytest.fixture(autouse=True)
def _looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)


def test_a_secret_is_not_shown() -> None:
    assert "xyzzy" not in f"{Secret('xyzzy')!r} {Secret('xyzzy')}"


def test_a_file_that_was_replaced_counts_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    found = secret_in_file(file)
    assert found.reveal() == "one"
    new = tmp_path / "password.new"
    new.write_text("two\n")
    new.replace(file)
    assert found.reveal() == "two"
    assert found == Secret("two")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * (MAX_SECRET_BYTES + 1)])
def test_a_file_that_became_unusable_leaves_the_last_secret(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_text("one")
    found = secret_in_file(file)
    file.write_bytes(content)
    assert found.reveal() == "one"
    file.unlink()
    assert found.reveal() == "one"
    file.write_text("three")
    assert found.reveal() == "three"


def test_a_file_without_a_secret_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnusableSecretError, match="cannot be read"):
        secret_in_file(tmp_path / "none")
    (tmp_path / "empty").write_text("")
    with pytest.raises(UnusableSecretError, match="is empty"):
        secret_in_file(tmp_path / "empty")


def test_a_file_is_not_looked_at_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 3600.0)
    file = tmp_path / "password"
    file.write_text("one")
    found = secret_in_file(file)
    file.write_text("two")
    assert found.reveal() == "one"
