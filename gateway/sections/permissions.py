"""How the settings file says who may ask for what, of whom, and how much."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, post_load, validate

from gateway.domain.permissions import Limits, Names, Permissions, Rule
from gateway.httpkit.settings import SettingsSchema
from gateway.wire.kinds import COMPONENT_KINDS

_MOST: Final = 1_000_000
"""More than one gateway keeps track of."""

_NAME: Final = validate.Length(min=1, max=255)
_KINDS: Final = {kind.rpartition("/")[2].removesuffix(".yaml"): kind for kind in COMPONENT_KINDS}


class KindField(fields.String):
    """A kind of component: its URI, or the last part of one that the schema has."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if ":" in text:
            return text
        if text not in _KINDS:
            raise ValidationError(f"must be a URI or one of {', '.join(sorted(_KINDS))}")
        return _KINDS[text]


class NodeNamesSchema(SettingsSchema):
    """Which nodes."""

    settings_class: ClassVar[type] = Names

    allow = fields.List(fields.String(validate=_NAME))
    deny = fields.List(fields.String(validate=_NAME))

    @post_load
    def to_settings(self, data: dict[str, Any], **_: Any) -> Any:
        """The names, in no order."""
        return Names(**{key: frozenset(names) for key, names in data.items()})


class KindNamesSchema(NodeNamesSchema):
    """Which kinds."""

    allow = fields.List(KindField())
    deny = fields.List(KindField())


class LimitsSchema(SettingsSchema):
    """How much may be held at the same time."""

    settings_class: ClassVar[type] = Limits

    max_live_offers = fields.Integer(strict=True, validate=validate.Range(min=0, max=_MOST))
    max_live_sessions = fields.Integer(strict=True, validate=validate.Range(min=0, max=_MOST))

    @post_load
    def to_settings(self, data: dict[str, Any], **_: Any) -> Any:
        """The limits."""
        return _limits_of(data)


class RuleSchema(LimitsSchema):
    """The rule for everyone, or for one owner."""

    settings_class: ClassVar[type] = Rule

    may_submit = fields.Boolean(truthy={True}, falsy={False})
    nodes = fields.Nested(NodeNamesSchema())
    kinds = fields.Nested(KindNamesSchema())

    @post_load
    def to_settings(self, data: dict[str, Any], **_: Any) -> Any:
        """The rule."""
        return Rule(
            may_submit=data.get("may_submit"),
            nodes=data.get("nodes", Names()),
            kinds=data.get("kinds", Names()),
            limits=_limits_of(data),
            shared=data.get("together", Limits()),
        )


class GroupRuleSchema(RuleSchema):
    """The rule for the members of a group; ``together`` bounds what all of them hold."""

    together = fields.Nested(LimitsSchema())


class PermissionsSchema(SettingsSchema):
    """The section ``permissions``."""

    settings_class: ClassVar[type] = Permissions

    everyone = fields.Nested(RuleSchema())
    groups = fields.Dict(
        keys=fields.String(validate=_NAME), values=fields.Nested(GroupRuleSchema())
    )
    owners = fields.Dict(keys=fields.String(validate=_NAME), values=fields.Nested(RuleSchema()))


def _limits_of(data: Mapping[str, Any]) -> Limits:
    return Limits(offers=data.get("max_live_offers"), sessions=data.get("max_live_sessions"))
