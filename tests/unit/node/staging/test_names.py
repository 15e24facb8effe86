"""Names and paths out of strangers' texts: always safe, as near to the original as can be."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_stub.staging.names import MAX_NAME_BYTES, distinct_name, distinct_paths, safe_name

HOSTILE = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=400),
    st.text(st.sampled_from("./\\%~-$`;|&<>'\"* \x00\n\r\t\u202eaé"), max_size=300),
)


def is_safe(name: str) -> bool:
    return (
        name not in {"", ".", ".."}
        and len(name.encode()) <= MAX_NAME_BYTES
        and not set(name) & set("/\\\0\n\r\t$`;|&<>'\"*?!")
        and name[0] not in "-~#"
        and all(c.isprintable() for c in name)
    )


@given(HOSTILE)
def test_any_text_gives_a_safe_name(text: str) -> None:
    assert is_safe(safe_name(text))


@given(HOSTILE, HOSTILE)
def test_a_second_name_is_safe_and_another(name: str, origin: str) -> None:
    first = safe_name(name)
    second = distinct_name(first, origin)

    assert is_safe(second)
    assert second != first


@pytest.mark.parametrize(
    "name", ["cube.fits", "Übersicht 2026.fits.gz", "a=b,c+d@e.tar", "obs_(1)[2].fits", ".hidden"]
)
def test_a_usual_name_stays(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("..", "__"),
        ("", "data"),
        ("-rf", "_rf"),
        ("~root", "_root"),
        ("a\nb\x00c", "a_b_c"),
        ("$(reboot)`x`;y", "_(reboot)_x__y"),
        ("safe\u202etxt.exe", "safe_txt.exe"),
    ],
)
def test_what_is_dangerous_is_replaced(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_a_name_of_300_bytes_is_shortened_and_keeps_its_ending() -> None:
    first, second = safe_name("x" * 300 + ".fits"), safe_name("x" * 301 + ".fits")

    assert first.endswith(".fits")
    assert len(first.encode()) == MAX_NAME_BYTES
    assert first != second


@given(st.lists(HOSTILE, max_size=20))
def test_object_keys_stay_inside_and_apart(keys: list[str]) -> None:
    paths = distinct_paths(keys)

    files = list(paths.values())
    assert set(paths) == set(keys)
    assert len(set(files)) == len(files)
    folders = {parent for path in files for parent in path.parents}
    assert not folders & set(files)
    for path in files:
        assert not path.is_absolute()
        assert all(is_safe(part) for part in path.parts)


def test_the_directories_of_object_keys_are_kept() -> None:
    assert distinct_paths(["a/b/c.fits", "/d//e", "../x"]) == {
        "a/b/c.fits": PurePosixPath("a/b/c.fits"),
        "/d//e": PurePosixPath("d/e"),
        "../x": PurePosixPath("__/x"),
    }


def test_an_object_named_like_a_directory_gets_another_name() -> None:
    paths = distinct_paths(["a", "a/b"])

    assert paths["a"] == PurePosixPath("a")
    assert paths["a/b"].parent == PurePosixPath()
