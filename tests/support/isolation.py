"""The isolation matrix: which status everybody gets at every route, and whether it is so.

Both services have one: a list of rows beside their tests, and a scene that the rows are tried in.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import hdrs, web

from gateway.wire.documents import Document


class Who(StrEnum):
    """Everybody there is, to the things that the owner has made."""

    ANONYMOUS = "anonymous"
    OWNER = "owner"
    OTHER = "other"
    ADMIN = "admin"
    NODE = "node"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Scene:
    """A running service, and what each caller sends along; ``data_dir`` is that of a node."""

    url: str
    http: aiohttp.ClientSession
    headers: Mapping[Who, Mapping[str, str]]
    data_dir: Path

    async def call(
        self, who: Who, method: str, path: str, document: Any = None
    ) -> tuple[int, Document]:
        """One exchange that succeeds: the status and the document in the answer."""
        async with self.http.request(
            method,
            self.url + path,
            json=document,
            headers=self.headers[who],
            allow_redirects=False,
        ) as response:
            assert response.status < HTTPStatus.BAD_REQUEST, (path, await response.text())
            is_json = "json" in response.content_type
            return response.status, (await response.json() if is_json else {})

    async def status(
        self, who: Who, method: str, path: str, document: Document | None = None
    ) -> int:
        """The status of one exchange; what else comes is not waited for, it may be endless."""
        async with self.http.request(
            method,
            self.url + path,
            json=document,
            headers=self.headers[who],
            allow_redirects=False,
        ) as response:
            return response.status


Maker = Callable[[Scene], Awaitable[Mapping[str, str]]]
"""Makes something of the owner's and gives what stands for the names in braces in the route."""


async def nothing(_scene: Scene) -> Mapping[str, str]:
    """For routes that are about nothing in particular."""
    return {}


@dataclass(frozen=True, slots=True)
class Row:
    """What everybody gets at one route, about something that ``make`` has made for the owner.

    It is made anew for every caller if the method changes anything. A text in the body that is one
    name in braces, as in the route, is replaced alike. ``private`` holds the statuses that are
    others where only owners read (``reads: owner``).
    """

    method: str
    route: str
    anonymous: int
    owner: int
    other: int
    admin: int
    node: int = 403
    revoked: int = 401
    make: Maker = field(default=nothing, kw_only=True)
    body: Document | None = field(default=None, kw_only=True)
    query: str = field(default="", kw_only=True)
    private: Mapping[Who, int] = field(default_factory=dict, kw_only=True)

    @property
    def key(self) -> tuple[str, str]:
        """What there may be one row of."""
        return self.method, self.route

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method == hdrs.METH_GET

    def expected(self, who: Who, *, is_private: bool) -> int:
        """The status that this caller is to get."""
        usual: int = getattr(self, who.value)
        return self.private.get(who, usual) if is_private else usual


OWNERS: Final[Mapping[Who, int]] = {Who.ANONYMOUS: 401, Who.OTHER: 404}
"""Where only owners read: nobody else learns that it exists."""

SIGNED_IN: Final[Mapping[Who, int]] = {Who.ANONYMOUS: 401}
"""Where only owners read: belongs to nobody, so whoever says who they are may read it."""


def routes_of(app: web.Application) -> set[tuple[str, str]]:
    """Every method and route that an application has; HEAD goes with GET."""
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != hdrs.METH_HEAD
    }


def faults_of(rows: Iterable[Row], routes: set[tuple[str, str]]) -> list[str]:
    """What is wrong with the rows themselves: missing, of no route, twice, or showing nothing."""
    listed = [row.key for row in rows]
    faults = [f"no row for {method} {route}" for method, route in sorted(routes - set(listed))]
    faults += [f"no route for {method} {route}" for method, route in sorted(set(listed) - routes)]
    faults += [f"twice: {key}" for key in sorted(set(listed)) if listed.count(key) > 1]
    for row in rows:
        looks_at_credentials = row.revoked == HTTPStatus.UNAUTHORIZED
        is_refused = all(
            row.expected(who, is_private=False) >= HTTPStatus.BAD_REQUEST for who in Who
        )
        if looks_at_credentials and is_refused:
            faults.append(f"nobody may do this, so it shows nothing: {row.key}")
    return faults


async def differences(scene: Scene, rows: Iterable[Row], *, is_private: bool) -> list[str]:
    """Every cell of the matrix that is not as it is written.

    What is only read is read first, and made once for all rows that read it.
    """
    found = []
    made: dict[Maker, Mapping[str, str]] = {}
    for row in sorted(rows, key=lambda row: not row.is_read):
        if row.is_read and row.make not in made:
            made[row.make] = await row.make(scene)
        methods = (hdrs.METH_GET, hdrs.METH_HEAD) if row.is_read else (row.method,)
        for who in scene.headers:
            expected = row.expected(who, is_private=is_private)
            for method in methods:
                names = made[row.make] if row.is_read else await row.make(scene)
                path = row.route.format_map(names) + row.query
                status = await scene.status(who, method, path, _filled(row.body, names))
                if status != expected:
                    found.append(f"{method} {row.route} as {who}: {status}, not {expected}")
    return found


def _filled(body: Any, names: Mapping[str, str]) -> Any:
    if isinstance(body, dict):
        return {member: _filled(value, names) for member, value in body.items()}
    if isinstance(body, list):
        return [_filled(item, names) for item in body]
    if isinstance(body, str) and body.startswith("{") and body[1:-1] in names:
        return names[body[1:-1]]
    return body
