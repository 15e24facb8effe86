"""Drives the public generated client through one scenario against one broker.

Run as a program with the generated package on ``PYTHONPATH``: the job is JSON on standard input,
what came of it is JSON on standard output. It knows nothing of the server but its base URL.
"""

import importlib
import json
import sys
import time
from typing import Any
from uuid import uuid4

POLL_S = 0.05
TERMINAL = {"COMPLETED", "FAILED", "CANCELLED", "EXPIRED", "REJECTED"}

Json = dict[str, Any]


class Driver:
    """One generated client with one account."""

    def __init__(self, base_url: str, username: str | None, password: str | None) -> None:
        package = importlib.import_module("openapi_client")
        self.models = importlib.import_module("openapi_client.models")
        self.api_error: type[Exception] = importlib.import_module(
            "openapi_client.exceptions"
        ).ApiException
        configuration = package.Configuration(host=base_url)
        client = package.ApiClient(configuration)
        if username is not None:
            basic = importlib.import_module("urllib3").make_headers(
                basic_auth=f"{username}:{password}"
            )
            client.default_headers["Authorization"] = basic["authorization"]
        self.api = importlib.import_module("openapi_client.api.default_api").DefaultApi(client)

    def request(self, document: Json) -> Any:
        """The request as the client's own model."""
        return self.models.ExecutionRequest.from_dict(document)

    def update(self, uuid: Any, phase: str) -> Any:
        """Asks for a phase."""
        update = self.models.EnumValueUpdate(
            kind="uri:enum-value-update", path="phase", value=phase
        )
        return self.api.session_update(uuid, update)

    def attempt(self, call: Any) -> Json:
        """What the client's caller sees of a call that should fail."""
        try:
            answer = call()
        except self.api_error as error:
            data = getattr(error, "data", None)
            return {
                "error": type(error).__name__,
                "status": getattr(error, "status", None),
                "data": None if data is None else described(data),
            }
        return {"error": None, "answer": described(answer)}

    def poll(self, uuid: Any, deadline_s: float) -> list[str]:
        """Every phase seen until the session has come to its end."""
        phases: list[str] = []
        give_up = time.monotonic() + deadline_s
        while time.monotonic() < give_up:
            phase = str(self.api.session_select(uuid).phase.value)
            if not phases or phases[-1] != phase:
                phases.append(phase)
            if phase in TERMINAL:
                break
            time.sleep(POLL_S)
        return phases


def described(model: Any) -> Json:
    """A model's document with its class beside it."""
    return {"class": type(model).__name__, "document": json.loads(model.to_json())}


def lifecycle(driver: Driver, job: Json) -> Json:
    """Submit, select, accept the first offer, poll to the end."""
    offerset = driver.api.execution_request(driver.request(job["request"]))
    again = driver.api.offer_set_select(offerset.meta.uuid)
    offer = offerset.offers[0]
    before = driver.api.session_select(offer.meta.uuid)
    accepted = driver.update(offer.meta.uuid, "ACCEPTED")
    siblings = [str(other.meta.uuid) for other in offerset.offers[1:]]
    return {
        "offerset": described(offerset),
        "again": described(again),
        "before": described(before),
        "accepted": described(accepted),
        "phases": driver.poll(offer.meta.uuid, job["deadline_s"]),
        "after": described(driver.api.session_select(offer.meta.uuid)),
        "siblings": {uuid: driver.poll(uuid, 2.0) for uuid in siblings},
    }


def submit(driver: Driver, job: Json) -> Json:
    """Submit only."""
    return driver.attempt(lambda: driver.api.execution_request(driver.request(job["request"])))


def direct(driver: Driver, job: Json) -> Json:
    """Have a request run at once, then cancel it."""
    outcome = driver.attempt(lambda: driver.api.direct_execution(driver.request(job["request"])))
    if outcome["error"] is None:
        uuid = outcome["answer"]["document"]["meta"]["uuid"]
        outcome["cancelled"] = described(driver.update(uuid, "CANCELLED"))
        outcome["phases"] = driver.poll(uuid, job["deadline_s"])
    return outcome


def unknown(driver: Driver, job: Json) -> Json:
    """Ask for what does not exist."""
    return {
        "offerset": driver.attempt(lambda: driver.api.offer_set_select(uuid4())),
        "session": driver.attempt(lambda: driver.api.session_select(uuid4())),
        "update": driver.attempt(lambda: driver.update(uuid4(), "ACCEPTED")),
    }


SCENARIOS = {"lifecycle": lifecycle, "submit": submit, "direct": direct, "unknown": unknown}


def run() -> None:
    """Reads the job, writes what came of it."""
    job: Json = json.load(sys.stdin)
    driver = Driver(job["base_url"], job.get("username"), job.get("password"))
    json.dump(SCENARIOS[job["scenario"]](driver, job), sys.stdout)


if __name__ == "__main__":
    run()
