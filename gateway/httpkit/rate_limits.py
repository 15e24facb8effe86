"""Rate limits: a bucket of calls for each caller, filled again at a steady rate (token bucket).

Each process counts for itself: behind one port, N processes let up to N times as much through. The
answers say what is left, as draft-ietf-httpapi-ratelimit-headers-10 has it.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter

from gateway.httpkit.access import SAFE_METHODS, Access, access_of
from gateway.httpkit.auth import Principal, principal_of
from gateway.httpkit.origins import origin_of
from gateway.httpkit.rate_settings import RateLimitSettings
from gateway.httpkit.telemetry import route_of
from gateway.wire.problem import ProblemError

MOST_BUCKETS: Final = 10_000
"""Callers of one class that are kept count of, some 200 bytes each. Beyond them the one that has
not called for longest is forgotten, and starts anew."""

RATE_LIMIT: Final = "RateLimit"
RATE_LIMIT_POLICY: Final = "RateLimit-Policy"

_STATED: Final = web.RequestKey("rate_limit", dict[str, str])
_HOST_BITS: Final = 64
"""Of an IPv6 address: a host has that many addresses of its own (RFC 4291 §2.5.1)."""


class CallClass(StrEnum):
    """What is counted together."""

    READS = "reads"
    WRITES = "writes"
    HEAVY = "heavy"
    EVENTS = "events"
    FAILED_LOGINS = "failed-logins"


class RateLimitedProblem(ProblemError):  # noqa: N818  # a problem is what the client gets
    """The caller calls too often. ``violated-policies`` is the draft's own member."""

    slug = "rate-limited"
    title = "Too many requests"
    status = 429

    def __init__(self, call_class: CallClass, rate: "Rate", retry_after_s: int) -> None:
        super().__init__(
            f"{_WORDS[call_class]} are limited to {rate.burst} within {rate.window_s} s; "
            f"try again in {retry_after_s} s.",
            headers={hdrs.RETRY_AFTER: str(retry_after_s)},
            extensions={"violated-policies": [call_class.value]},
        )


_WORDS: Final = {
    CallClass.READS: "Reads",
    CallClass.WRITES: "Writes",
    CallClass.HEAVY: "Requests for offers",
    CallClass.EVENTS: "New streams of events",
    CallClass.FAILED_LOGINS: "Failed log-ins from one address",
}


@dataclass(frozen=True, slots=True)
class Rate:
    """``per_s`` calls a second, and up to ``burst`` at once."""

    per_s: float
    burst: int

    @property
    def window_s(self) -> int:
        """Seconds in which an empty bucket is full again."""
        return max(1, math.ceil(self.burst / self.per_s))


@dataclass(frozen=True, slots=True)
class Standing:
    """What a caller has left: whole calls, and the seconds until there is one more."""

    left: int
    next_s: float


class Buckets:
    """The buckets of all callers of one class. A caller that is not known has a full one.

    Parameters
    ----------
    monotonic
        Gives seconds on a clock that never jumps.
    """

    def __init__(
        self, rate: Rate, monotonic: Callable[[], float], most: int = MOST_BUCKETS
    ) -> None:
        self.rate = rate
        self._monotonic = monotonic
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def standing(self, caller: str) -> Standing:
        """What the caller has left as of now."""
        return self._standing(self._level(caller, self._monotonic()))

    def take(self, caller: str) -> tuple[bool, Standing]:
        """Take one call out, if there is one; whether there was, and what is left then."""
        now = self._monotonic()
        level = self._level(caller, now)
        has_one = level >= 1
        if has_one:
            level -= 1
        self._put(caller, level, now)
        return has_one, self._standing(level)

    def charge(self, caller: str) -> None:
        """Take one call out, also where there is none: the bucket owes it then.

        For what is counted only once it has been done, and may be done many times at once.
        """
        now = self._monotonic()
        self._put(caller, max(self._level(caller, now) - 1, -float(self.rate.burst)), now)

    def _put(self, caller: str, level: float, now: float) -> None:
        self._levels[caller] = (level, now)
        self._levels.move_to_end(caller)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)

    def _level(self, caller: str, now: float) -> float:
        level, at = self._levels.get(caller, (float(self.rate.burst), now))
        return min(self.rate.burst, level + (now - at) * self.rate.per_s)

    def _standing(self, level: float) -> Standing:
        left = max(0, math.floor(level))
        is_full = level >= self.rate.burst
        return Standing(left, 0.0 if is_full else (left + 1 - level) / self.rate.per_s)


class RateLimits:
    """Counts calls and refuses what is too many; one per process and registry.

    ``heavy`` are method and route template of what makes work at every node; ``events`` are route
    templates of streams.
    """

    def __init__(
        self,
        settings: RateLimitSettings,
        monotonic: Callable[[], float],
        prefix: str,
        registry: CollectorRegistry,
        *,
        heavy: AbstractSet[tuple[str, str]] = frozenset(),
        events: AbstractSet[str] = frozenset(),
    ) -> None:
        self._heavy = heavy
        self._events = events
        rates = {
            CallClass.READS: _rate(settings.reads_per_s, settings.burst_s),
            CallClass.WRITES: _rate(settings.writes_per_s, settings.burst_s),
            CallClass.HEAVY: _rate(settings.heavy_per_s, settings.burst_s),
            CallClass.EVENTS: _rate(settings.events_per_s, settings.burst_s),
            CallClass.FAILED_LOGINS: _logins(settings.failed_logins_per_min),
        }
        self._buckets = {
            call_class: Buckets(rate, monotonic)
            for call_class, rate in rates.items()
            if rate is not None
        }
        limited = Counter(
            f"{prefix}requests_rate_limited",
            "Requests refused because their caller calls too often.",
            ("class",),
            registry=registry,
        )
        self._limited = {one: limited.labels(one.value) for one in CallClass}

    def login_guard(self) -> Middleware:
        """Refuses to check credentials from where too many were wrong. Belongs around the log-in.

        Raises
        ------
        RateLimitedProblem
        """
        buckets = self._buckets.get(CallClass.FAILED_LOGINS)

        @web.middleware
        async def login_guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            is_open = access_of(request.method, route_of(request)) is Access.OPEN
            if buckets is None or is_open or hdrs.AUTHORIZATION not in request.headers:
                return await handler(request)
            address = _host_of(origin_of(request))
            standing = buckets.standing(address)
            if standing.left < 1:
                raise self._refusal(CallClass.FAILED_LOGINS, buckets.rate, standing)
            try:
                return await handler(request)
            except ProblemError as error:
                if error.status == HTTPStatus.UNAUTHORIZED:
                    buckets.charge(address)
                raise

        return login_guard

    def middleware(self) -> Middleware:
        """Counts the calls of whoever has logged in, or has not. Belongs inside of the log-in.

        Raises
        ------
        RateLimitedProblem
        """

        @web.middleware
        async def rate_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            call_class = self._class_of(request)
            buckets = None if call_class is None else self._buckets.get(call_class)
            principal = principal_of(request)
            if call_class is None or buckets is None or (principal and principal.is_admin):
                return await handler(request)
            is_let_in, standing = buckets.take(_caller_of(request, principal))
            if not is_let_in:
                raise self._refusal(call_class, buckets.rate, standing)
            request[_STATED] = _headers(call_class, buckets.rate, standing)
            return await handler(request)

        return rate_middleware

    def _class_of(self, request: web.Request) -> CallClass | None:
        route = route_of(request)
        if access_of(request.method, route) is Access.OPEN:
            return None
        if route in self._events:
            return CallClass.EVENTS
        if request.method in SAFE_METHODS:
            return CallClass.READS
        is_heavy = (request.method, route) in self._heavy
        return CallClass.HEAVY if is_heavy else CallClass.WRITES

    def _refusal(self, call_class: CallClass, rate: Rate, standing: Standing) -> ProblemError:
        self._limited[call_class].inc()
        problem = RateLimitedProblem(call_class, rate, max(1, math.ceil(standing.next_s)))
        problem.headers.update(_headers(call_class, rate, standing))
        return problem


async def state_rate_limit(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the caller what it has left; an ``on_response_prepare`` signal, for streams too."""
    for name, value in request.get(_STATED, {}).items():
        response.headers.setdefault(name, value)


def _headers(call_class: CallClass, rate: Rate, standing: Standing) -> dict[str, str]:
    name = f'"{call_class.value}"'
    return {
        RATE_LIMIT_POLICY: f"{name};q={rate.burst};w={rate.window_s}",
        RATE_LIMIT: f"{name};r={standing.left};t={math.ceil(standing.next_s)}",
    }


def _rate(per_s: float | None, burst_s: float) -> Rate | None:
    return None if per_s is None else Rate(per_s, max(1, round(per_s * burst_s)))


def _logins(per_min: float | None) -> Rate | None:
    return None if per_min is None else Rate(per_min / 60, max(1, round(per_min)))


def _caller_of(request: web.Request, principal: Principal | None) -> str:
    if principal is None:
        return f"address:{_host_of(origin_of(request))}"
    return f"{principal.role.value}:{principal.owner or principal.node or principal.username}"


def _host_of(address: str | None) -> str:
    """What stands for one host: its address, or of an IPv6 one the part that it cannot choose."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "nowhere"
    if isinstance(parsed, IPv6Address):
        return str(int(parsed) >> _HOST_BITS)
    return str(parsed)
