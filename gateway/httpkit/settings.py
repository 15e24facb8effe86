"""Settings files: YAML, checked whole, every fault reported at once, secrets kept elsewhere."""

import os
import re
from collections.abc import Hashable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, is_dataclass
from dataclasses import fields as dataclass_fields
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml
from marshmallow import RAISE, Schema, ValidationError, fields, post_load, pre_load, validate
from marshmallow_oneofschema.one_of_schema import OneOfSchema

from gateway.wire.documents import Document
from gateway.wire.secret import Secret, UnusableSecretError, secret_in_file

_HIDDEN = "***"
_URL_PASSWORD = re.compile(r"(?<=://)([^/?#\s:@]*):([^/?#\s]*)@")


NAME: Final = validate.Regexp(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
    error="must be 1 to 64 letters, digits, dots, underscores or hyphens",
)
"""What nodes, sites, gateways and policies may be called."""


class SettingsError(Exception):
    """A settings file that cannot be used, with all that is wrong with it."""

    def __init__(self, path: Path, faults: list[str]) -> None:
        listed = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(f"{path}: settings not usable\n{listed}")
        self.path = path
        self.faults = faults


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a settings file may point to outside of itself."""

    folder: Path
    environ: Mapping[str, str]


_surroundings: ContextVar[_Surroundings] = ContextVar("settings_surroundings")


def settings_folder() -> Path:
    """The folder of the settings file that is being loaded: other files are relative to it."""
    return _surroundings.get().folder


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Stands where a secret should be, so that its fault is listed among the others."""

    reason: str


class SecretField(fields.Field[Secret]):
    """A secret ``x``, given as ``x_env`` (a variable) or ``x_file`` (a file), never as ``x``.

    Works only in a ``SettingsSchema``, which looks the secret up.
    """

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Any,  # noqa: ARG002  # marshmallow passes it
        **kwargs: Any,  # noqa: ARG002  # marshmallow passes them
    ) -> Secret:
        if isinstance(value, Secret):
            return value
        if isinstance(value, _Refusal):
            raise ValidationError(value.reason)
        raise ValidationError(
            f"does not belong in this file: name a variable with {attr}_env "
            f"or a file with {attr}_file"
        )


class SettingsSchema(Schema):
    """One section: unknown members are refused, the result is a frozen dataclass.

    Members that are not given are left to the defaults of the dataclass, so that there is one
    place for them. Lists become tuples.
    """

    settings_class: ClassVar[type]

    class Meta:
        """A misspelt member must not pass as a default."""

        unknown = RAISE

    error_messages: ClassVar[dict[str, str]] = {  # type: ignore[misc]  # an instance attribute there
        "unknown": "is not a setting",
        "type": "must be a mapping",
    }

    @pre_load
    def find_secrets(self, data: Any, **_: Any) -> Any:
        """Put the secrets where the file names where they are."""
        if not isinstance(data, Mapping):
            return data
        found = dict(data)
        for name, schema_field in self.fields.items():
            if isinstance(schema_field, SecretField):
                _find_secret(found, name, is_required=schema_field.required)
        return found

    @post_load
    def to_settings(self, data: dict[str, Any], **_: Any) -> Any:
        """The section as its dataclass."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return self.settings_class(**values)


class TypedSettingsSchema(OneOfSchema):
    """A section that is one of several, told apart by ``type``.

    ``type_schemas`` maps each type to an instance of its ``SettingsSchema``.
    """

    def _load(self, data: Any, **kwargs: Any) -> Any:
        if not isinstance(data, dict):
            raise ValidationError("must be a mapping")
        kind = data.get(self.type_field)
        if not isinstance(kind, Hashable) or kind not in self.type_schemas:
            known = ", ".join(sorted(str(name) for name in self.type_schemas))
            raise ValidationError({self.type_field: [f"must be one of {known}"]})
        return super()._load(data, **kwargs)  # type: ignore[no-untyped-call]  # has no annotations


def _find_secret(section: dict[str, Any], name: str, *, is_required: bool) -> None:
    variable = section.pop(f"{name}_env", None)
    file = section.pop(f"{name}_file", None)
    if name in section:
        return
    if variable is not None and file is not None:
        section[name] = _Refusal(f"give {name}_env or {name}_file, not both")
    elif variable is not None:
        section[name] = _secret_in_variable(variable, f"{name}_env")
    elif file is not None:
        section[name] = _secret_in_file(file, f"{name}_file")
    elif is_required:
        section[name] = _Refusal(f"is missing: give {name}_env or {name}_file")


def _secret_in_variable(variable: object, setting: str) -> Secret | _Refusal:
    if not isinstance(variable, str):
        return _Refusal(f"{setting} must be the name of a variable")
    text = _surroundings.get().environ.get(variable)
    if text is None:
        return _Refusal(f"the environment variable {variable} ({setting}) is not set")
    return Secret(text) if text else _Refusal(f"the variable {variable} ({setting}) is empty")


def _secret_in_file(file: object, setting: str) -> Secret | _Refusal:
    if not isinstance(file, str):
        return _Refusal(f"{setting} must be the name of a file")
    path = _surroundings.get().folder / file
    try:
        return secret_in_file(path)
    except UnusableSecretError as error:
        return _Refusal(f"the file {path} ({setting}) {error.reason}")


def load_settings(
    path: Path, schema: SettingsSchema, environ: Mapping[str, str] | None = None
) -> Any:
    """The settings in a file, as the dataclass of the schema.

    Parameters
    ----------
    environ
        Where ``*_env`` look; by default the environment of the process. ``*_file`` are relative
        to the folder of the settings file.

    Raises
    ------
    SettingsError
        With everything that is wrong, not only the first.
    """
    document = _read_yaml(path)
    surroundings = _Surroundings(path.parent, os.environ if environ is None else environ)
    token = _surroundings.set(surroundings)
    try:
        return schema.load(document)
    except ValidationError as error:
        faults = sorted(set(_flatten(error.messages, "")))
        raise SettingsError(path, faults) from error
    finally:
        _surroundings.reset(token)


_MERGE_TAG = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.CSafeLoader):
    """Refuses a key given twice, where YAML would silently keep the last."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node. PyYAML reads numbers and dates without a look at the text first."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
            what = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"this is no {what}", node.start_mark
            ) from error


def _construct_mapping(loader: yaml.CSafeLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE_TAG:
            continue  # no settings have other keys; a merged mapping is there to be overridden
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"{key!r} is given twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text("utf-8")
        document = yaml.load(text, _StrictLoader)  # noqa: S506  # a safe loader, only stricter
    except OSError as error:
        raise SettingsError(path, [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise SettingsError(path, ["is not UTF-8 text"]) from error
    except yaml.YAMLError as error:
        raise SettingsError(path, [f"is not YAML: {_where(error)}"]) from error
    return {} if document is None else document


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error)


def _flatten(messages: Any, path: str) -> Iterator[str]:
    """Every fault as ``nodes[1].url: reason``."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from _flatten(inner, _below(path, key))
    elif isinstance(messages, list | tuple):
        for message in messages:
            yield from _flatten(message, path)
    else:
        yield f"{path}: {messages}" if path else str(messages)


def _below(path: str, key: object) -> str:
    if key in {"_schema", "value"}:  # marshmallow's own steps: the whole, and a mapping's value
        return path
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else str(key)


def describe(settings: Any) -> Document:
    """Settings as a document to show, with no secret in it, not even one inside a URL."""
    return {item.name: _plain(getattr(settings, item.name)) for item in dataclass_fields(settings)}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        # A class with a text form of its own is one value to the reader, as ``listen`` is.
        is_text = type(value).__str__ is not object.__str__
        return str(value) if is_text else describe(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1:{_HIDDEN}@", value)
    return value if isinstance(value, bool | int | float | None) else str(value)
