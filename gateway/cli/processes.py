"""Services as child processes: started, waited for, stopped, and blamed when they die."""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_LOOK_EVERY_S: Final = 0.02
_TAIL_LINES: Final = 15


class ServiceError(Exception):
    """A service died, or did not do in time what it should; says what its log ends with."""

    def __init__(self, name: str, what: str, log: str) -> None:
        ending = f". Its log ends with:\n{log}" if log else ", and its log is empty"
        super().__init__(f"{name} {what}{ending}")
        self.name = name


class Service:
    """One ``python -m MODULE`` with its output in files of ``directory``.

    Standard output is read for the line that tells the URL; both outputs are kept for the blame.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        directory: Path,
        environ: Mapping[str, str],
    ) -> None:
        self.name = name
        self._command = (sys.executable, "-m", module, *arguments)
        self._out = directory / f"{name}.out"
        self._err = directory / f"{name}.log"
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it, without waiting for anything."""
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(self._environ),
                process_group=0,  # an interrupt from the keyboard is for the parent, which stops us
            )

    async def url(self, deadline_s: float) -> str:
        """The URL it listens on, once it does.

        Raises
        ------
        ServiceError
            It died first, or said nothing within ``deadline_s``.
        """
        try:
            async with asyncio.timeout(deadline_s):
                while (url := self._announced()) is None:
                    self.check()
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError as error:
            what = f"did not start within {deadline_s:g} s"
            raise ServiceError(self.name, what, self._tail()) from error
        return url

    def check(self) -> None:
        """Raises `ServiceError` if it is no longer there."""
        code = None if self._process is None else self._process.returncode
        if code is not None:
            raise ServiceError(self.name, f"stopped by itself with exit code {code}", self._tail())

    async def stop(self, deadline_s: float) -> int:
        """Its exit code after SIGTERM. After ``deadline_s`` it is killed: the code shows it."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(deadline_s):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()

    def _announced(self) -> str | None:
        first, newline, _ = self._out.read_text(errors="replace").partition("\n")
        if not newline:
            return None
        try:
            event = json.loads(first)
            return str(event["url"])
        except (ValueError, KeyError, TypeError) as error:
            what = f"did not say where it listens, but: {first}"
            raise ServiceError(self.name, what, self._tail()) from error

    def _tail(self) -> str:
        return "\n".join(self._err.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
