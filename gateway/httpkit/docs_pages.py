"""The OpenAPI document and its browser, served from this package with no outside download."""

import asyncio
from collections.abc import Callable
from functools import cache
from importlib import resources
from threading import Lock
from typing import Final

from aiohttp import hdrs, web

from gateway.httpkit.errors import NotFoundProblem
from gateway.httpkit.operations import JSON_ONLY
from gateway.wire.documents import Document, to_json

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
"""Nothing from elsewhere; Swagger UI styles its elements in place and draws its arrows as data."""


class ApiDescription:
    """The OpenAPI document of an application, made when somebody asks for it: few ever do.

    It takes a good part of a second, so it is made once, and ``text`` is best waited for elsewhere
    than on the event loop.
    """

    def __init__(self, build: Callable[[], Document]) -> None:
        self.build = build
        self._lock = Lock()
        self._text: bytes | None = None

    def text(self) -> bytes:
        """The document as ``/openapi.json`` gives it. Threads that come at once wait for one."""
        with self._lock:
            if self._text is None:
                self._text = to_json(self.build())
            return self._text


API_DESCRIPTION = web.AppKey("api_description", ApiDescription)
"""What the application says of itself."""

_PAGE = "index.html"
_ASSETS = {
    _PAGE: "text/html",
    "start.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon.png": "image/png",
}
_ASSET_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    hdrs.CACHE_CONTROL: "public, max-age=86400",
}


@cache
def _read_asset(name: str) -> bytes:
    return (resources.files(__package__) / "swagger_ui" / name).read_bytes()


def add_docs_routes(app: web.Application, build: Callable[[], Document]) -> None:
    """Serve ``/openapi.json`` as ``build`` makes it, and ``/docs`` to read it in a browser."""
    description = app[API_DESCRIPTION] = ApiDescription(build)

    async def get_document(_request: web.Request) -> web.Response:
        return web.Response(
            body=await asyncio.to_thread(description.text),
            content_type=JSON_ONLY[0],
            headers={hdrs.CACHE_CONTROL: "no-cache"},
        )

    async def get_page(_request: web.Request) -> web.Response:
        return _asset(_PAGE)

    async def get_asset(request: web.Request) -> web.Response:
        return _asset(request.match_info["file"])

    app.router.add_get("/openapi.json", get_document)
    app.router.add_get("/docs", get_page)
    app.router.add_get("/docs/{file}", get_asset)


def _asset(name: str) -> web.Response:
    content_type = _ASSETS.get(name)
    if content_type is None:
        raise NotFoundProblem("There is no such page.")
    return web.Response(
        body=_read_asset(name),
        content_type=content_type,
        charset="utf-8" if content_type.startswith("text/") else None,
        headers=_ASSET_HEADERS,
    )
