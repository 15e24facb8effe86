"""The yardstick M: the least that an aiohttp gateway can do.

A server and a default ``ClientSession``; the same bytes to every node, their answers read and not
looked at, the first one handed back. No deadline, no validation, no ranking, no store. It lives
here so that it cannot change with the product. Run as ``python -m tests.bench.baseline URL...``;
the first line on standard output is ``{"url": ...}``.
"""

import asyncio
import json
import sys
from collections.abc import Sequence

import aiohttp
from aiohttp import web

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


async def ask_all(session: aiohttp.ClientSession, urls: Sequence[str], body: bytes) -> list[bytes]:
    """Post the body to all and read every answer."""

    async def ask(url: str) -> bytes:
        async with session.post(url, data=body, headers=_HEADERS, allow_redirects=False) as reply:
            return await reply.read()

    return await asyncio.gather(*(ask(url) for url in urls))


async def serve(urls: Sequence[str]) -> None:
    """Serve until the process is ended."""
    targets = [url + "/requests" for url in urls]

    async def requests(request: web.Request) -> web.Response:
        answers = await ask_all(session, targets, await request.read())
        return web.Response(body=answers[0], content_type="application/json")

    app = web.Application()
    app.router.add_post("/requests", requests)
    async with aiohttp.ClientSession() as session:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
