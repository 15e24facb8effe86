"""Pieces of logs and the paths of what came out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.outputs import (
    file_url,
    from_piece,
    is_file_path,
    output_urls,
    to_piece,
    whole_characters,
    with_urls,
)

BASE = "https://broker.example.org"


@given(data=st.binary() | st.text().map(str.encode), offset=st.integers(0, 2**62))
def test_a_piece_comes_back_as_it_was(data: bytes, offset: int) -> None:
    assert from_piece(from_json(to_json(to_piece(offset, data)))) == (offset, data)


@given(text=st.text(), size=st.integers(1, 9))
def test_text_that_is_cut_anywhere_is_sent_as_text(text: str, size: int) -> None:
    """As long as a piece holds a whole character, it holds no half of one."""
    data, sent = text.encode(), []
    at, end = 0, 0
    while at < len(data):
        end = min(max(end, at) + size, len(data))
        count = whole_characters(data[at:end])
        if at + count == end or count:
            sent.append(data[at : at + count])
        at += count
    assert b"".join(sent) == data
    if size >= 4:
        assert "".join(piece.decode() for piece in sent) == text


@given(data=st.binary(min_size=1))
def test_something_is_always_sent(data: bytes) -> None:
    assert 1 <= whole_characters(data) <= len(data)
    assert len(data) - whole_characters(data) <= 3


@pytest.mark.parametrize(
    "piece",
    [{}, {"offset": 1}, {"text": "a"}, {"offset": "1", "text": "a"}, {"offset": 1, "base64": "?"}],
)
def test_what_is_no_piece_is_refused(piece: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="piece"):
        from_piece(piece)


@given(path=st.text(min_size=1).filter(is_file_path))
def test_the_url_of_a_file_leads_to_that_file_alone(path: str) -> None:
    url = URL(file_url(BASE, "u", path), encoded=True)
    assert url.path == f"/results/u/{path}"
    assert str(url).isascii()
    assert (url.query_string, url.fragment) == ("", "")


@pytest.mark.parametrize("path", ["", ".", "..", "a/../b", "/a", "a/", "a//b", "a/.", "a\0"])
def test_a_path_that_leads_elsewhere_is_none(path: str) -> None:
    assert not is_file_path(path)


def test_every_url_is_made_anew() -> None:
    results: Document = {
        "session": "u",
        "streams": [{"name": "stdout", "url": "http://node/x"}],
        "files": [{"path": "a b/c?", "size": 1, "url": "http://node/y"}],
    }
    shown = with_urls(results, BASE)
    assert shown["streams"][0]["url"] == f"{BASE}/streams/u/stdout"
    assert shown["files"][0]["url"] == f"{BASE}/results/u/a%20b/c%3F"
    assert results["files"][0]["url"] == "http://node/y"
    assert set(output_urls(BASE, "u").values()) == {
        f"{BASE}/streams/u/stdout",
        f"{BASE}/streams/u/stderr",
        f"{BASE}/sessions/u/results",
    }
