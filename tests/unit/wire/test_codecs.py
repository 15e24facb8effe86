"""Round trips through every codec, and what each refuses."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.codecs.base import MAX_DEPTH, Codec, CodecError
from gateway.wire.codecs.registry import (
    CODECS,
    JSON,
    XML,
    YAML,
    codec_for_accept,
    codec_for_content_type,
)
from gateway.wire.codecs.roots import ROOT_DOCUMENT, ROOT_REQUEST, ROOT_SCHEMAS, ROOT_UPDATE
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from tests.support import documents
from tests.support.wire_strategies import JSON_VALUES, TEXTS
from tests.support.wire_strategies import documents as documents_of

EACH_CODEC = pytest.mark.parametrize("codec", CODECS, ids=lambda c: c.media_type)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down: 1, 1.0 and true are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(v, other[k]) for k, v in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@EACH_CODEC
@pytest.mark.parametrize("root", ROOT_SCHEMAS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_valid_document_comes_back_as_it_was(
    codec: Codec, root: str, data: st.DataObject
) -> None:
    schema = ROOT_SCHEMAS[root]()
    document = data.draw(documents_of(schema))
    assert validate(schema, document) == []
    assert same(codec.decode(codec.encode(document, root)), document)


@EACH_CODEC
@settings(deadline=None)
@given(document=st.dictionaries(TEXTS, JSON_VALUES, max_size=4))
def test_a_document_of_no_schema_comes_back_as_it_was(codec: Codec, document: Document) -> None:
    assert same(codec.decode(codec.encode(document, ROOT_DOCUMENT)), document)


@EACH_CODEC
@settings(deadline=None)
@given(document=st.dictionaries(TEXTS, JSON_VALUES, max_size=4))
def test_a_document_that_breaks_its_schema_comes_back_too(codec: Codec, document: Document) -> None:
    document |= {"executable": {"kind": 5}, "costs": {"a": 1}, "compute": [True], "storage": "x"}
    assert same(codec.decode(codec.encode(document, ROOT_REQUEST)), document)


@EACH_CODEC
@settings(deadline=None)
@given(text=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode(errors="replace")))
def test_no_text_makes_a_codec_fail_in_another_way(codec: Codec, text: bytes) -> None:
    with suppress(CodecError):
        codec.decode(text)


@EACH_CODEC
def test_writing_is_deterministic(codec: Codec) -> None:
    document = documents.request()
    assert codec.encode(document, ROOT_REQUEST) == codec.encode(document, ROOT_REQUEST)


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        (JSON, b"[" * 100_000),
        (JSON, b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2)),
        (YAML, b"[" * 100_000),
        (YAML, b"- " * 5_000 + b"a"),
        (YAML, b"{a: " * (MAX_DEPTH + 2) + b"1" + b"}" * (MAX_DEPTH + 2)),
        (XML, b"<document>" + b"<a>" * 100_000),
        (XML, b"<document>" + b"<a>" * 200 + b"</a>" * 200 + b"</document>"),
    ],
    ids=lambda value: value.media_type if isinstance(value, Codec) else None,
)
def test_deep_nesting_is_refused(codec: Codec, text: bytes) -> None:
    with pytest.raises(CodecError):
        codec.decode(text)


@EACH_CODEC
def test_nesting_up_to_the_limit_is_read(codec: Codec) -> None:
    document: Document = {}
    for _ in range(MAX_DEPTH - 1):
        document = {"a": document}
    assert codec.decode(codec.encode(document, ROOT_DOCUMENT)) == document


@EACH_CODEC
def test_a_document_too_deep_for_recursion_is_an_error_of_the_codec(codec: Codec) -> None:
    document: Document = {}
    for _ in range(5_000):
        document = {"a": document}
    with pytest.raises(CodecError):
        codec.encode(document, ROOT_DOCUMENT)


@EACH_CODEC
def test_a_document_of_too_many_values_is_refused(codec: Codec) -> None:
    text = (
        codec.encode({"many": ["x"] * 100_000}, ROOT_DOCUMENT)
        if codec is not YAML
        else (b"many:\n" + b"- x\n" * 100_000)
    )
    with pytest.raises(CodecError, match="more than"):
        codec.decode(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1, "a": 2}', b'{"a": 1e999}', b"", b"{} {}",
        b'{"a": "\\ud800"}', b'{"\\ud800": 1}', b'{"a": 18446744073709551616}', b"\xff",
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
)  # fmt: skip
def test_json_refuses_what_readers_understand_differently(text: bytes) -> None:
    with pytest.raises(CodecError):
        JSON.decode(text)


def test_a_json_fault_says_where_it_is() -> None:
    with pytest.raises(CodecError, match="line 2, column 3"):
        JSON.decode(b'{"a": 1,\n  b}')


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"result: NO", {"result": "NO"}),
        (b"a: yes", {"a": "yes"}),
        (b"on: off", {"on": "off"}),
        (b"a: 2026-08-03", {"a": "2026-08-03"}),
        (b"a: 2026-08-03T09:00:00Z", {"a": "2026-08-03T09:00:00Z"}),
        (b"a: 12:30:00", {"a": "12:30:00"}),
        (b"a: 1_000", {"a": "1_000"}),
        (b"a: 010", {"a": 10}),
        (b"a: 0o17", {"a": 15}),
        (b"a: 0x1F", {"a": 31}),
        (b"a: 1e3", {"a": 1000.0}),
        (b"a: True", {"a": True}),
        (b"a: ~\nb:\nc: NULL", {"a": None, "b": None, "c": None}),
        (b"a: '5'", {"a": "5"}),
        (b"a: !!str 5", {"a": "5"}),
        (b"a: ! 5", {"a": "5"}),
        (b'a: !!int "5"', {"a": 5}),
        (b"8080: x\ntrue: y", {"8080": "x", "true": "y"}),
        (b"a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        (b"&k a: 1\nb: *k", {"a": 1, "b": "a"}),
        (b"a: &k b\n*k : 1", {"a": "b", "b": 1}),
        (b"'<<': 1", {"<<": 1}),
        (b"--- {a: 1}\n...\n", {"a": 1}),
        (b"", None),
    ],
)
def test_yaml_is_read_by_the_core_schema(text: bytes, value: Any) -> None:
    assert same(YAML.decode(text), value)


@pytest.mark.parametrize(
    "text",
    [
        b"a: &x [*x]", b"a: *x", b"a: 1\na: 2", b"a: .inf", b"a: -.INF", b"a: .nan", b"{}\n---\n{}",
        b"a: !!python/object:os.system 1", b"!!set {a}", b"a: !!timestamp 2026", b"? [1]\n: 2",
        b"a: !!int x", b"a: 99999999999999999999", b"a: " + b"9" * 5000, b"<<: {a: 1}", b"a: [1",
        b"a: &x {b: 1}\n*x : 1", b"? {a: 1}\n: 2", b"\x00", b"a: &x b\nb: 2\n*x : 1", b"a: 1e999",
    ],
)  # fmt: skip
def test_yaml_refuses(text: bytes) -> None:
    with pytest.raises(CodecError):
        YAML.decode(text)


def test_aliases_are_not_shared_objects() -> None:
    document = YAML.decode(b"a: &x {b: 1}\nc: *x")
    document["a"]["b"] = 2
    assert document["c"] == {"b": 1}


def test_a_yaml_alias_bomb_is_refused() -> None:
    bomb = b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 12)
    )
    with pytest.raises(CodecError, match="aliases expanded"):
        YAML.decode(bomb)


def test_yaml_is_written_for_readers_of_both_versions() -> None:
    text = YAML.encode(
        {"result": "NO", "y": "1e3", "at": "2026-08-03T09:00:00Z", "a": "0o17", "list": []},
        ROOT_DOCUMENT,
    ).decode()
    assert text == ("result: 'NO'\n'y': '1e3'\nat: '2026-08-03T09:00:00Z'\na: '0o17'\nlist: []\n")


def test_xml_looks_as_promised() -> None:
    document = {
        "executable": {
            "kind": "urn:k",
            "environment": {"A B": "1 < 2"},
            "new": {"n": 1, "1x": [True, None, "s", 2.5, {}, []]},
        },
        "storage": [],
        "costs": [{"kind": "urn:c", "max": 1}],
    }
    assert XML.encode(document, ROOT_REQUEST).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<offers-request><executable kind="urn:k">'
        '<environment type="object"><entry name="A B">1 &lt; 2</entry></environment>'
        '<new type="object"><n type="integer">1</n><entry name="1x" type="array">'
        '<item type="boolean">true</item><item type="null"></item><item>s</item>'
        '<item type="number">2.5</item><item type="object"></item><item type="array"></item>'
        "</entry></new></executable><storage></storage>"
        '<costs><cost kind="urn:c"><max type="integer">1</max></cost></costs></offers-request>'
    )


def test_xml_written_by_hand_is_read() -> None:
    text = b"""<?xml version="1.0"?>
    <!-- a comment -->
    <offers-request xmlns="urn:any">
      <compute>
        <kind>https://www.purl.org/ivoa.net/Calycopis-openapi/schema/v1.0/kinds/compute/simple-compute-resource.yaml</kind>
        <cores><min> 2 </min><max>4</max></cores>
      </compute>
      <schedule><requested><start>2026-08-03/P1D</start></requested></schedule>
      <extra><deep>x</deep></extra>
    </offers-request>"""
    document = XML.decode(text)
    assert document["compute"]["cores"] == {"min": 2, "max": 4}
    assert document["schedule"] == {"requested": {"start": "2026-08-03/P1D"}}
    assert document["extra"] == {"deep": "x"}


LAUGHS = b"".join(
    b'<!ENTITY l%d "%s">' % (i, b"&l%d;" % (i - 1) * 10 if i else b"lol") for i in range(12)
)


@pytest.mark.parametrize(
    "text",
    [
        b"<!DOCTYPE document [" + LAUGHS + b"]><document>&l11;</document>",
        b'<!DOCTYPE document [<!ENTITY x SYSTEM "file:///etc/passwd">]><document>&x;</document>',
        b'<!DOCTYPE document SYSTEM "http://example.org/d.dtd"><document/>',
        b"<!DOCTYPE document><document/>", b"<document>&undefined;</document>",
        b"<other/>", b"", b"<document>", b"<document>text</document>", b"<document a='1'/>",
        b"<document><a>1</a><a>2</a></document>", b"<document><a type='integer'>x</a></document>",
        b"<document><a type='set'/></document>", b"<document><a type='null'>x</a></document>",
        b"<document><a name='x'/></document>", b"<document><a type='integer'><b/></a></document>",
        b"<document><a type='boolean'>yes</a></document>", b"<document>x<a/></document>",
        b"<document><a type='number'>nan</a></document>",
        b"<document><a type='number'>1e999</a></document>",
        b"<?xml version='1.0' encoding='no-such'?><document/>",
        b"<update kind='a'><kind>b</kind></update>",
        b"<document><a type='integer'>" + b"9" * 500 + b"</a></document>",
    ],
)  # fmt: skip
def test_xml_refuses(text: bytes) -> None:
    with pytest.raises(CodecError):
        XML.decode(text)


@pytest.mark.parametrize("text", ["\x00", "\x07", "\x1b", "\ufffe", "\ud800"])
@pytest.mark.parametrize("document", [{"a": "%"}, {"%": "a"}, {"kind": "%"}])
def test_what_xml_cannot_carry_is_said(text: str, document: Document) -> None:
    spoilt = {k.replace("%", text): v.replace("%", text) for k, v in document.items()}
    with pytest.raises(CodecError, match="XML cannot carry the character U"):
        XML.encode(spoilt, ROOT_UPDATE)


@EACH_CODEC
@pytest.mark.parametrize("value", ["\ud800", object()])
def test_values_that_are_not_json_are_an_error_of_the_codec(codec: Codec, value: object) -> None:
    with pytest.raises(CodecError):
        codec.encode({"a": value}, ROOT_DOCUMENT)


@pytest.mark.parametrize(
    ("content_type", "codec"),
    [
        ("application/json", JSON), ("application/json; charset=utf-8", JSON), ("TEXT/YAML", YAML),
        ("application/yaml", YAML), ("application/yml", YAML), ("application/xml", XML),
        ("text/xml", XML), ("application/vnd.x+json", JSON), ("application/vnd.x+yaml", YAML),
        ("text/plain", None), ("", None), ("application/problem+xml", XML),
    ],
)  # fmt: skip
def test_the_content_type_chooses_the_codec(content_type: str, codec: Codec | None) -> None:
    assert codec_for_content_type(content_type) is codec


@pytest.mark.parametrize(
    ("accept", "codec"),
    [
        (None, JSON), ("", JSON), ("*/*", JSON), ("application/*", JSON),
        ("text/html, */*;q=0.1", JSON), ("application/yaml", YAML), ("text/yaml", YAML),
        ("application/xml;q=0.9, application/yaml", YAML),
        ("application/xml, application/yaml", XML), ("application/yaml, application/xml", YAML),
        ("application/json;q=0, */*", XML), ("text/plain", None), ("application/json;q=0", None),
        ("application/json;q=x, text/yaml;q=0.1", YAML), ("*/*;q=0.5, application/xml;q=0.4", JSON),
        ("text/*", JSON), ("application/json;q=0.2, application/yaml;q=0.9, */*;q=0.1", YAML),
        ("application/problem+json", JSON), (", application/xml", XML), ("garbage", None),
    ],
)  # fmt: skip
def test_accept_chooses_the_codec(accept: str | None, codec: Codec | None) -> None:
    assert codec_for_accept(accept) is codec
