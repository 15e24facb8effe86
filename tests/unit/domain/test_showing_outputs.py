"""Connectors and lists of results as the gateway's clients see them."""

from typing import Final

from gateway.domain.showing import show_results, show_session
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase

BASE: Final = "https://gateway.example.org"
NODE: Final = "http://node.example.org:8090"
UUID: Final = "00000000-0000-4000-8000-000000000001"


def connector(kind: str, **more: str) -> Document:
    return {"kind": f"urn:execbroker:connector:{kind}", "status": "AVAILABLE", **more}


def shown(*connectors: object) -> object:
    session: Document = {"meta": {"uuid": UUID}, "connectors": list(connectors)}
    made = show_session(session, base_url=BASE, phase=SessionPhase.RUNNING, is_owner=False)
    return made["connectors"]


def test_connectors_to_outputs_lead_here() -> None:
    url = f"{NODE}/streams/{UUID}/stdout"
    assert shown(connector("stdout", protocol="HTTP", location=url)) == [
        connector("stdout", protocol="HTTPS", location=f"{BASE}/streams/{UUID}/stdout")
    ]


def test_other_connectors_stay_as_they_are() -> None:
    others = [
        connector("http", protocol="HTTP", location="http://10.0.0.1:32768/app"),
        {"kind": "urn:other", "location": "x"},
        {"location": "x"},
    ]
    assert shown(*others) == others


def test_a_connector_that_leads_nowhere_still_leads_nowhere() -> None:
    finished = connector("results") | {"status": "FINISHED"}
    assert shown(finished) == [finished]


def test_what_is_no_connector_is_passed_on() -> None:
    assert shown("odd", None) == ["odd", None]
    session: Document = {"meta": {"uuid": UUID}, "connectors": "odd"}
    made = show_session(session, base_url=BASE, phase=SessionPhase.RUNNING, is_owner=False)
    assert made["connectors"] == "odd"


def test_results_have_urls_of_this_gateway() -> None:
    results: Document = {
        "session": UUID,
        "streams": [{"name": "stdout", "url": f"{NODE}/streams/{UUID}/stdout"}],
        "files": [{"path": "a/b", "url": "https://evil.example.org/"}],
        "more": {"kept": True},
    }
    made = show_results(results, BASE)
    assert made["streams"][0]["url"] == f"{BASE}/streams/{UUID}/stdout"
    assert made["files"][0]["url"] == f"{BASE}/results/{UUID}/a/b"
    assert made["more"] == {"kept": True}
