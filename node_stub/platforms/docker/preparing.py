"""Getting the image of a job, as long as it takes, beside everything else."""

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog

from node_stub.clock import Clock
from node_stub.platforms.base import EndReason, PlatformError
from node_stub.platforms.docker.client import EngineClient
from node_stub.platforms.docker.images import ImageRequest, NoImageError, find, provide
from node_stub.platforms.docker.records import End, Job, Provided
from node_stub.platforms.docker.settings import DockerSettings

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0
"""Between two attempts at a registry, or an engine, that cannot be reached."""

LOCAL_S: Final = 1
"""What getting an image takes that is here."""

_log = structlog.get_logger(__name__)


class ImageProvider:
    """Gets images of one engine, and remembers how long that took."""

    def __init__(
        self,
        client: EngineClient,
        settings: DockerSettings,
        clock: Clock,
        hint: Callable[[UUID], None],
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._hint = hint
        self._last_pull_s: float | None = None

    async def estimate_s(self, wanted: ImageRequest) -> int:
        """How long it takes to get an image: what the last pull took, if it must be pulled.

        Raises
        ------
        PlatformError
            The engine cannot say what it has.
        """
        if await find(self._client, wanted, self._settings) is not None:
            return LOCAL_S
        if self._last_pull_s is None:
            return self._settings.pull_estimate_s
        return LOCAL_S + round(self._last_pull_s)

    async def get(self, job: Job) -> None:
        """Get the image of a job, or note why it cannot be had: the body of a task."""
        asked = job.preparation
        if asked is None:
            raise AssertionError("only what is prepared gets an image")
        wanted = ImageRequest(asked.locations, asked.digest, asked.architecture, asked.system)
        wait_s = FIRST_WAIT_S
        while True:
            began = self._clock.now()
            try:
                image = await provide(self._client, wanted, self._settings)
                if image.was_pulled:
                    self._last_pull_s = (self._clock.now() - began).total_seconds()
                await job.save(Provided(image.id, image.location, image.working_directory))
                break
            except NoImageError as error:
                waited_s = (self._clock.now() - asked.begun).total_seconds()
                if error.is_final or waited_s + wait_s > self._settings.pull_retry_s:
                    await job.save(End(EndReason.IMAGE, text=str(error), ended=self._clock.now()))
                    break
                _log.info("image_unreachable", session=str(job.session), reason=str(error))
            except PlatformError as error:
                # That says nothing about the image.
                _log.info("image_unseen", session=str(job.session), reason=str(error))
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        self._hint(job.session)
