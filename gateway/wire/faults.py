"""From marshmallow's messages to faults with JSON pointers."""

from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import Schema

from gateway.wire.problem import Fault


def to_pointer(path: tuple[str | int, ...]) -> str:
    """The JSON pointer of a path (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _walk(messages: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if isinstance(messages, Mapping):
        for step, inner in messages.items():
            # Faults of an object as a whole stand under _schema.
            yield from _walk(inner, path if step == "_schema" else (*path, step))
    elif isinstance(messages, list | tuple):
        for inner in messages:
            yield from _walk(inner, path)
    else:
        yield Fault(to_pointer(path), str(messages))


def faults_of(messages: Any) -> list[Fault]:
    """Every fault in what a ``ValidationError`` says, each once, in the order of the schema."""
    return list(dict.fromkeys(_walk(messages, ())))


def validate(schema: Schema, document: Any) -> list[Fault]:
    """What is wrong with a document: nothing, if it is as the schema says."""
    return faults_of(schema.validate(document))
