"""Hypothesis strategies: documents that a schema takes, made from the schema itself."""

from functools import partial
from typing import Any

from hypothesis import strategies as st
from marshmallow import Schema, fields, validate

from gateway.wire.documents import Document
from gateway.wire.schemas.fields import (
    Daily,
    Duration,
    Flag,
    Instant,
    IntervalText,
    KindSchema,
    LooseInstant,
    Number,
    Start,
    StringMap,
    UuidText,
    Whole,
)

TRICKY_TEXTS = (
    *("", " ", "NO", "no", "on", "y", "Y", "true", "null", "~", "1", "1.0", "1e3", "0x1f", "0o17"),
    *(
        "0123",
        "+1",
        ".5",
        "5.",
        "1_000",
        "12:30:00",
        "2026-08-03",
        "2026-08-03T09:00:00Z",
        "=",
        "<<",
    ),
    *(
        ".inf",
        "-.INF",
        ".nan",
        "- a",
        "a: b",
        "# c",
        "'",
        '"',
        "&a",
        "*a",
        "!t",
        "%",
        "@",
        "`",
        "|",
    ),
    *(
        "<a>&amp;</a>",
        "]]>",
        "line\nbreak",
        "  padded  ",
        "tab\t",
        "\r\n",
        "trailing\n",
        "\n",
        "---",
    ),
    *("é", "日本", "😀", "\x85", "\u2028", "\ufeff", "\xa0", "{}", "[]", "?", ":", ",", "a\\b"),
)
"""Strings that some codec could take for something else."""

_XML_CHARACTERS = st.characters(
    exclude_categories=["Cs"],
    exclude_characters=[chr(c) for c in range(32) if chr(c) not in "\t\n\r"] + ["\ufffe", "\uffff"],
)

TEXTS = st.sampled_from(TRICKY_TEXTS) | st.text(_XML_CHARACTERS, max_size=12)
"""Strings that all three codecs can carry."""

INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
"""Any JSON value, for members that nobody knows."""

INSTANT_TEXTS = st.builds(
    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}{}".format,
    *(st.integers(1, 9999), st.integers(1, 12), st.integers(1, 28)),
    *(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59)),
    st.sampled_from(["", ".5", ".640118", ".123456789"]),
    st.sampled_from(["Z", "+00:00", "-03:30", "+0200"]),
)
DURATION_TEXTS = st.sampled_from(
    ["PT0S", "PT20M", "PT1M30S", "P1DT2H", "P2W", "PT0.5S", "P1Y", "PT36H"]
)
_UTC_TEXTS = INSTANT_TEXTS.filter(lambda text: text.endswith(("Z", ":00", ":30")))
INTERVAL_TEXTS = (
    st.builds("{}/{}".format, _UTC_TEXTS, DURATION_TEXTS)
    | st.builds("{}/{}".format, DURATION_TEXTS, _UTC_TEXTS)
    | st.just("2026-08-09/2026-08-10")
)
DAILY = st.fixed_dictionaries(
    {"start": st.just("09:00"), "end": st.sampled_from(["17:00", "05:30:15", "24:00"])},
    optional={"timezone": st.sampled_from(["Europe/London", "UTC"])},
)


def _bounded(declared: Whole) -> st.SearchStrategy[int]:
    (check,) = declared.validators
    assert isinstance(check, validate.Range)
    return st.integers(check.min, check.max)


def _has_length(check: validate.Length, text: str) -> bool:
    return (check.min or 0) <= len(text) <= (check.max or len(text))


def _string(declared: fields.String) -> st.SearchStrategy[str]:
    for check in declared.validators:
        if isinstance(check, validate.OneOf):
            return st.sampled_from(list(check.choices))
        if isinstance(check, validate.Length):
            return TEXTS.filter(partial(_has_length, check))
    return TEXTS


_BY_FIELD: dict[type, Any] = {
    UuidText: st.uuids().map(str),
    Instant: INSTANT_TEXTS,
    LooseInstant: INSTANT_TEXTS,
    Duration: DURATION_TEXTS,
    IntervalText: INTERVAL_TEXTS,
    Start: INTERVAL_TEXTS | INSTANT_TEXTS | st.lists(INTERVAL_TEXTS, max_size=2),
    Daily: DAILY,
    StringMap: st.dictionaries(TEXTS, TEXTS, max_size=3),
    Number: INTEGERS | FLOATS,
    Flag: st.booleans(),
}


def _values(declared: Any) -> st.SearchStrategy[Any]:
    if isinstance(declared, fields.Nested):
        return documents(declared.schema)
    if isinstance(declared, fields.List):
        return st.lists(_values(declared.inner), max_size=2)
    if isinstance(declared, Whole):
        return _bounded(declared)
    return _BY_FIELD[type(declared)] if type(declared) in _BY_FIELD else _string(declared)


def documents(schema: Schema, *, has_extras: bool = True) -> st.SearchStrategy[Document]:
    """Documents that ``schema`` takes, with members it does not know among them."""
    if isinstance(schema, KindSchema):
        variants = [v for v in schema.type_schemas.values() if isinstance(v, Schema)]
        return st.one_of([documents(variant) for variant in variants])
    members = {
        name: _values(declared) | st.none() if declared.allow_none else _values(declared)
        for name, declared in schema.fields.items()
    }
    required = {n: m for n, m in members.items() if schema.fields[n].required}
    optional = {n: m for n, m in members.items() if n not in required}
    known = st.fixed_dictionaries(required, optional=optional)
    if not has_extras:
        return known
    extra = st.dictionaries(TEXTS, JSON_VALUES, max_size=1)
    return st.builds(
        lambda k, e: {name: v for name, v in e.items() if name not in members} | k, known, extra
    )
