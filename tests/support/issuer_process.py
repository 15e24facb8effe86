"""An OpenID provider in a process of its own, and the tokens that a test wants of it."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import time
from typing import Any, Final

import aiohttp

from gateway.httpkit.bearer.settings import IssuerSettings

AUDIENCE: Final = "https://broker.example.org"
"""What its tokens are for, if nothing else is said."""

STOP_S: Final = 10.0


class IssuerProcess:
    """A provider on one port, however often it is started; each start has new keys."""

    def __init__(self) -> None:
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.oidc_issuer", str(self._port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().decode().strip() == self.url

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=STOP_S)
            self._process = None

    async def control(self, **asked: Any) -> Any:
        """Have it do something, or change one of its attributes."""
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.url}control/", json=asked) as answer,
        ):
            return await answer.json()

    async def fetched(self) -> int:
        """How often its keys were fetched."""
        count: int = (await self.control())["fetched"]
        return count

    async def token(
        self,
        subject: str | None = "sub-of-carol",
        *,
        life_s: float = 3600,
        header: dict[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """A token that holds, but for what is said otherwise; None leaves a claim out."""
        now = int(time())
        usual = {"iss": self.url, "sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + life_s}
        claims = {name: value for name, value in (usual | more).items() if value is not None}
        answer = await self.control(claims=claims, header=header or {})
        token: str = answer["token"]
        return token

    async def jwks(self) -> Any:
        """Its public keys."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}jwk") as answer:
            return await answer.json()

    def settings(self, **more: Any) -> IssuerSettings:
        """Trust in it; an unknown key is asked for every 0.2 s at most."""
        given: dict[str, Any] = {
            "issuer": self.url,
            "audiences": (AUDIENCE,),
            "allow_http": True,
            "keys_every_s": 0.2,
        }
        return IssuerSettings(**given | more)


@contextmanager
def issuer_process() -> Iterator[IssuerProcess]:
    """A provider that runs, until the block ends."""
    issuer = IssuerProcess()
    try:
        issuer.start()
        yield issuer
    finally:
        issuer.stop()


def _free_port() -> int:
    """One that is free now: it must be known before the start, and be the same after the next."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
