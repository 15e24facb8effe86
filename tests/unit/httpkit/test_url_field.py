"""URLs in settings are those that marshmallow's own field takes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import ValidationError, fields

from gateway.httpkit.url_field import HttpUrlField

OURS = HttpUrlField(required=True)
THEIRS = fields.URL(schemes={"http", "https"}, require_tld=False)

PIECES = st.sampled_from(
    [
        *("http://", "https://", "HTTPS://", "ftp://", "://", "localhost", "127.0.0.1", "[::1]"),
        *("a", "Z9", "node-1", "-", ".", "..", "_", "/", "?", "#", "@", "user:pw@", ":", ":8080"),
        *(
            "é",
            "ünï",
            "\u00a0",
            "\u00a1",
            "\uffff",
            "\U0001f600",
            "%41",
            "%zz",
            " ",
            "\n",
            "x" * 63,
        ),
        *("x" * 64, "museum", "x1", "\u0661", "10.0.0.1", "[", "]", "{", "`", "~", "path/to?q=1#f"),
    ]
)


def verdict(field: "fields.Field[str]", text: object) -> object:
    try:
        return field.deserialize(text)
    except ValidationError as error:
        return error.messages


@given(st.builds("".join, st.lists(PIECES, max_size=8)))
@example("http://node.example.org")
@example("https://node.example.org:8443/api/")
@example("http://a.b.")
@example("http://a-.b")
@example("http://1.2.3.4:x")
@example("http://host\n")
def test_any_text_is_judged_alike(text: str) -> None:
    assert verdict(OURS, text) == verdict(THEIRS, text)
    if "://" not in text:
        with_scheme = f"http://{text}"
        assert verdict(OURS, with_scheme) == verdict(THEIRS, with_scheme)


@pytest.mark.parametrize("value", [None, 1, b"\xff", ["http://a"], True])
def test_what_is_no_text_is_judged_alike(value: object) -> None:
    assert verdict(OURS, value) == verdict(THEIRS, value)


def test_further_checks_come_after_that_of_the_form() -> None:
    def refuse(_text: str) -> None:
        raise ValidationError("refused")

    field = HttpUrlField(validate=refuse)
    assert verdict(field, "http://a") == ["refused"]
    assert verdict(field, "nonsense") == ["Not a valid URL.", "refused"]
