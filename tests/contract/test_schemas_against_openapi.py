"""Our schemas beside the public OpenAPI document and its samples, where these are near."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, fields, validate

from gateway.wire import kinds
from gateway.wire.codecs.registry import CODECS
from gateway.wire.codecs.roots import ROOT_OFFERSET, ROOT_REQUEST, ROOT_SESSION, ROOT_UPDATE
from gateway.wire.decode import decode_offerset, decode_session
from gateway.wire.documents import Document, to_json
from gateway.wire.faults import validate as faults_in
from gateway.wire.schemas import components, data, executable, resources
from gateway.wire.schemas.blocks import MinMaxSchema
from gateway.wire.schemas.fields import (
    INT32,
    INT64,
    Daily,
    Duration,
    Flag,
    Instant,
    IntervalText,
    KindSchema,
    Number,
    Start,
    UuidText,
    Whole,
)
from gateway.wire.schemas.request import (
    ExecutionRequestSchema,
    RequestedScheduleSchema,
    RequestedTimeSchema,
)
from gateway.wire.schemas.session import (
    ConnectorSchema,
    OfferSetSchema,
    ScheduledSessionSchema,
    SessionSchema,
)
from gateway.wire.schemas.update import UpdateSchema
from gateway.wire.times import (
    DURATION_PATTERN,
    INSTANT_PATTERN,
    INTERVAL_PATTERN,
    LOOSE_INSTANT_PATTERN,
    REQUESTED_START_PATTERN,
)

CONTRACT = Path(__file__).resolve().parents[3] / "shared" / "contract"
OPENAPI = CONTRACT / "execution-broker-v1.0.yaml"

pytestmark = pytest.mark.skipif(
    not OPENAPI.is_file(), reason=f"not run: the public OpenAPI document is not at {OPENAPI}"
)

OURS_ALONE = {"federation", "daily"}
"""Members that the public document has nowhere."""

EXTENSIONS: dict[type[Schema], set[str]] = {
    executable.JupyterNotebookSchema: {"environment"},
    resources.SimpleStorageSchema: {"location"},
}
"""Members that the public document does not have in these objects."""

OBJECTS: dict[str, type[Schema]] = {
    "ComponentMetadata": components.MetaSchema,
    "MessageItem": components.MessageSchema,
    "LifecycleStartDurationInstant": components.InstantStageSchema,
    "LifecycleStartDurationInterval": components.IntervalStageSchema,
    "LifecycleSchedule": components.ScheduleSchema,
    "ScheduledExecutionSchedule": components.ScheduleSchema,
    "DockerImageSpec": executable.ImageSchema,
    "DockerPlatformSpec": executable.PlatformSchema,
    "DockerNetworkSpec": executable.NetworkSchema,
    "DockerNetworkPort": executable.PortSchema,
    "DockerInternalPort": executable.InternalPortSchema,
    "DockerExternalPort": executable.ExternalPortSchema,
    "SimpleComputeCores": MinMaxSchema,
    "SimpleComputeMemory": MinMaxSchema,
    "SimpleStorageSize": MinMaxSchema,
    "RucioDataResourceBlock": data.RucioBlockSchema,
    "IvoaDataResourceBlock": data.IvoaBlockSchema,
    "IvoaObsCoreItem": data.ObsCoreSchema,
    "IvoaDataLinkItem": data.DataLinkSchema,
    "SkaoDataResourceBlock": data.SkaoBlockSchema,
    "SkaoChecksumItem": data.ChecksumSchema,
    "SkaoReplicaItem": data.ReplicaSchema,
    "SimpleSessionConnector": ConnectorSchema,
    "RequestedScheduleItem": RequestedTimeSchema,
    "RequestedScheduleBlock": RequestedScheduleSchema,
    "ExecutionRequest": ExecutionRequestSchema,
    "OfferSetResponse": OfferSetSchema,
    "ScheduledExecutionSession": ScheduledSessionSchema,
}
"""Objects without kind, by their public name."""

KINDS: dict[str, tuple[type[KindSchema], ...]] = {
    "AbstractExecutable": (
        executable.ExecutableSchema,
        executable.RequestedExecutableSchema,
    ),
    "AbstractComputeResource": (resources.ComputeSchema, resources.RequestedComputeSchema),
    "AbstractStorageResource": (resources.StorageSchema, resources.RequestedStorageSchema),
    "AbstractVolumeMount": (resources.VolumeSchema, resources.RequestedVolumeSchema),
    "AbstractDataResource": (data.DataSchema, data.RequestedDataSchema),
    "AbstractCostItem": (components.CostSchema, components.RequestedCostSchema),
    "AbstractMetricItem": (components.MetricSchema, components.RequestedMetricSchema),
    "AbstractOption": (components.OptionSchema,),
    "AbstractUpdate": (UpdateSchema,),
    "AbstractExecutionSession": (SessionSchema,),
}
"""Objects chosen by their kind, by their public name; in answers and in requests."""


@cache
def public() -> dict[str, Any]:
    schemas: dict[str, Any] = yaml.safe_load(OPENAPI.read_text())["components"]["schemas"]
    return schemas


def followed(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its reference followed."""
    while "$ref" in schema:
        schema = public()[schema["$ref"].rsplit("/", 1)[1]]
    return schema


def members_of(schema: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Properties and required names, those of every base included."""
    schema = followed(schema)
    properties, required = dict(schema.get("properties", {})), set(schema.get("required", []))
    for base in schema.get("allOf", []):
        more, needed = members_of(base)
        properties |= more
        required |= needed
    return properties, required


def json_type(declared: Any) -> str:
    """What JSON calls the type of a field."""
    for kinds_of_field, name in (
        ((fields.List,), "array"),
        ((Whole,), "integer"),
        ((Number,), "number"),
        ((Flag,), "boolean"),
        ((fields.Nested, fields.Dict, Daily), "object"),
    ):
        if isinstance(declared, kinds_of_field):
            return name
    return "string"


def public_type(schema: dict[str, Any]) -> str:
    return str(followed(schema).get("type", "object"))


def enum_of(declared: Any) -> set[str] | None:
    for check in declared.validators:
        if isinstance(check, validate.OneOf):
            return set(check.choices)
    return None


def extensions_of(ours: Schema) -> set[str]:
    """The members of an object that the public document does not have in it."""
    return {
        name for schema, added in EXTENSIONS.items() if isinstance(ours, schema) for name in added
    }


def compare(ours: Schema, theirs: dict[str, Any]) -> None:
    properties, required = members_of(theirs)
    extensions = extensions_of(ours)
    assert extensions.isdisjoint(properties)
    names = set(ours.fields) - OURS_ALONE - extensions
    assert names == set(properties)
    assert {name for name in names if ours.fields[name].required} == required
    for name in names:
        declared, described = ours.fields[name], followed(properties[name])
        assert json_type(declared) == public_type(described), name
        if isinstance(declared, fields.List):
            inner = followed(described["items"])
            assert json_type(declared.inner) == public_type(inner), name
        if name != "kind":
            enum = described.get("enum")
            assert enum_of(declared) == (set(enum) if enum else None), name
        if isinstance(declared, Whole):
            assert declared.validators == [{"int32": INT32, "int64": INT64}[described["format"]]]
        title = described.get("title", "")
        assert isinstance(declared, Duration) == (title == "ISO8601Duration"), name
        assert isinstance(declared, IntervalText | Start) == (title == "ISO8601Interval"), name
        is_instant = title == "ISO8601Instant" or described.get("format") == "date-time"
        assert isinstance(declared, Instant) == is_instant, name
        assert isinstance(declared, UuidText) == (described.get("format") == "uuid"), name


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_as_the_public_document_says(name: str) -> None:
    compare(OBJECTS[name](), public()[name])


@pytest.mark.parametrize("name", KINDS)
def test_every_public_kind_is_known_and_has_the_public_members(name: str) -> None:
    mapping = public()[name]["discriminator"]["mapping"]
    answer, *requested = (schema() for schema in KINDS[name])
    assert set(answer.type_schemas) == set(mapping) - kinds.CLIENT_BREAKING_KINDS
    for schema in requested:
        assert schema.is_open
        assert set(schema.type_schemas) == set(mapping)
    for kind, variant in answer.type_schemas.items():
        assert isinstance(variant, Schema)
        compare(variant, {"$ref": mapping[kind]})
    for schema in requested:
        for kind, variant in schema.type_schemas.items():
            assert isinstance(variant, Schema)
            properties, required = members_of({"$ref": mapping[kind]})
            assert set(variant.fields) - extensions_of(variant) == set(properties)
            assert {n for n, declared in variant.fields.items() if declared.required} == required


def test_every_kind_of_the_public_document_is_a_constant() -> None:
    mapped = {
        kind
        for schema in public().values()
        for kind in schema.get("discriminator", {}).get("mapping", {})
    }
    constants = {value for name, value in vars(kinds).items() if name.isupper()}
    assert mapped <= {value for value in constants if isinstance(value, str)}


ASCII = st.characters(codec="ascii", exclude_characters="\n")


def like(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern.replace("(?>", "(?:"), fullmatch=True, alphabet=ASCII)


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (INSTANT_PATTERN, "ISO8601Instant"),
        (LOOSE_INSTANT_PATTERN, "ISO8601Instant"),
        (DURATION_PATTERN, "ISO8601Duration"),
        (INTERVAL_PATTERN, "ISO8601Interval"),
    ],
)
@given(data=st.data())
def test_times_that_pass_in_answers_pass_the_public_pattern(
    ours: str, name: str, data: st.DataObject
) -> None:
    assert re.match(public()[name]["pattern"], data.draw(like(ours)))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("ISO8601Duration", DURATION_PATTERN),
        ("ISO8601Interval", REQUESTED_START_PATTERN),
        ("ISO8601Interval", INTERVAL_PATTERN),
    ],
)
@given(data=st.data())
def test_times_that_pass_the_public_pattern_pass_in_requests(
    name: str, ours: str, data: st.DataObject
) -> None:
    assert re.match(ours, data.draw(like(public()[name]["pattern"])))


def samples() -> list[Path]:
    return sorted((CONTRACT / "samples").glob("*.json"))


def root_of(sample: Path) -> str:
    for word, root in (
        ("request", ROOT_REQUEST),
        ("offerset", ROOT_OFFERSET),
        ("update", ROOT_UPDATE),
    ):
        if word in sample.name:
            return root
    return ROOT_SESSION


def read(sample: Path) -> Document:
    found = json.loads(sample.read_text())
    return {"data": found} if isinstance(found, list) else found


SCHEMAS: dict[str, type[Schema]] = {
    ROOT_REQUEST: ExecutionRequestSchema,
    ROOT_OFFERSET: OfferSetSchema,
    ROOT_UPDATE: UpdateSchema,
    ROOT_SESSION: SessionSchema,
}


@pytest.mark.parametrize("sample", samples(), ids=lambda path: path.stem)
def test_a_sample_passes_its_schema_and_every_codec(sample: Path) -> None:
    document = read(sample)
    root = ROOT_REQUEST if "data" in sample.name else root_of(sample)
    assert faults_in(SCHEMAS[root](), document) == []
    for codec in CODECS:
        assert codec.decode(codec.encode(document, root)) == document


@pytest.mark.parametrize("sample", samples(), ids=lambda path: path.stem)
def test_a_sample_of_an_answer_can_be_decoded(sample: Path) -> None:
    document = read(sample)
    if root_of(sample) == ROOT_OFFERSET:
        envelope = decode_offerset(to_json(document))
        assert envelope.result == document["result"]
        assert len(envelope.offers) == len(document.get("offers", []))
        for raw in envelope.offers:
            decode_session(raw)
    elif "phase" in document:
        assert decode_session(to_json(document)).phase == document["phase"]
