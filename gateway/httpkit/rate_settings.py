"""How often each caller may call, and whose word on a caller's address is believed."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate

from gateway.httpkit.settings import SettingsSchema

Network = IPv4Network | IPv6Network
"""Addresses of one network."""

FAILED_LOGINS_PER_MIN: Final = 60.0
"""One a second: a program with an old password that polls is told so still, while whoever guesses
gets 86,400 tries a day from one address, which is nothing against a password of 40 bits."""


@dataclass(frozen=True, slots=True)
class RateLimitSettings:
    """How many calls a caller may make; None for as many as it likes. In each process.

    Callers are told apart by who they are, and by their address where they do not say. The
    administrator is not limited. ``heavy_per_s`` is for requests that make work at every node,
    ``events_per_s`` for opening streams of events. Calls of ``burst_s`` seconds may come at once.
    ``failed_logins_per_min`` are those of one address; after them nobody can log in from there
    until some time has passed.
    """

    reads_per_s: float | None = None
    writes_per_s: float | None = None
    heavy_per_s: float | None = None
    events_per_s: float | None = None
    burst_s: float = 10.0
    failed_logins_per_min: float | None = FAILED_LOGINS_PER_MIN


class RateLimitSchema(SettingsSchema):
    """The section ``rate_limits``."""

    settings_class: ClassVar[type] = RateLimitSettings

    reads_per_s = fields.Float(
        allow_none=True, validate=validate.Range(min=0, min_inclusive=False, max=1e6)
    )
    writes_per_s = fields.Float(
        allow_none=True, validate=validate.Range(min=0, min_inclusive=False, max=1e6)
    )
    heavy_per_s = fields.Float(
        allow_none=True, validate=validate.Range(min=0, min_inclusive=False, max=1e6)
    )
    events_per_s = fields.Float(
        allow_none=True, validate=validate.Range(min=0, min_inclusive=False, max=1e6)
    )
    burst_s = fields.Float(validate=validate.Range(min=0.1, max=3600))
    failed_logins_per_min = fields.Float(allow_none=True, validate=validate.Range(min=1, max=1e6))


class NetworkField(fields.Field[Network]):
    """An address, or a network such as 10.0.0.0/8."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002  # marshmallow passes it
        data: Any,  # noqa: ARG002  # marshmallow passes it
        **kwargs: Any,  # noqa: ARG002  # marshmallow passes them
    ) -> Network:
        if not isinstance(value, str):
            raise ValidationError("must be an address or a network, such as 10.0.0.0/8")
        try:
            return ip_network(value)
        except ValueError as error:
            raise ValidationError(f"must be an address or a network: {error}") from error
