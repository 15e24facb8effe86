"""``/admin/drain`` and ``/admin/resume``: no new requests, and new requests again."""

from collections.abc import Callable

from aiohttp import web
from marshmallow import Schema, fields

from gateway.httpkit.bodies import answer_json
from gateway.httpkit.operations import JSON_ONLY, docs, response_schema
from node_stub.installation import Installation


class DrainSchema(Schema):
    """Whether the node drains."""

    draining = fields.Boolean(required=True)


def add_drain_routes(
    app: web.Application, installation: Installation, tell: Callable[[], None]
) -> None:
    """Serve both; ``tell`` has gateways told."""

    @docs(
        tags=["administration"],
        summary="Take no new requests",
        description="They are answered with NO, and gateways are told at once. Offers can still be"
        " accepted, and sessions go on.",
        media_types=JSON_ONLY,
    )
    @response_schema(DrainSchema(), 200)
    async def post_drain(_request: web.Request) -> web.Response:
        return await _set(is_draining=True)

    @docs(tags=["administration"], summary="Take new requests again", media_types=JSON_ONLY)
    @response_schema(DrainSchema(), 200)
    async def post_resume(_request: web.Request) -> web.Response:
        return await _set(is_draining=False)

    async def _set(*, is_draining: bool) -> web.Response:
        await installation.set_draining(is_draining=is_draining)
        tell()
        document = {"draining": installation.is_draining}
        return answer_json(document)

    app.router.add_post("/admin/drain", post_drain)
    app.router.add_post("/admin/resume", post_resume)
