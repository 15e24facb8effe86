"""What came out of the session: fetched through the gateway, verified, saved where it stays."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from rich.console import Console
from rich.table import Table

from gateway.cli import render
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.demo.cube import Galaxy
from gateway.cli.demo.errors import DemoError
from gateway.cli.summary import at, items
from gateway.wire.documents import Document

RESULTS: Final = "demo-results"
"""Where what came out of the demos is kept, below the current directory."""

EXPECTED: Final = (
    "notebook.html",
    "notebook.ipynb",
    "moment0.png",
    "moment1.png",
    "spectrum.png",
    "measured.json",
)
"""What the demo's notebook leaves."""

_DIGITS_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured, what it should be, and how far the noise lets it be from that."""

    name: str
    unit: str
    value: float
    truth: float
    tolerance: float


async def save_results(to: Console, client: ExecutionBrokerClient, session: UUID) -> Path:
    """Fetch everything that came out, and show it with what it took; the directory it is in.

    Raises
    ------
    DemoError
        The session left something else than it should, or what came is not what it left.
    BrokerError, OSError
    """
    results = await client.results(session)
    _show_usage(to, results)
    files = {file["path"]: file for file in items(results, "files")}
    if missing := [path for path in EXPECTED if path not in files]:
        raise DemoError(f"these did not come out: {', '.join(missing)}")
    directory = await asyncio.to_thread(_make_directory, session)
    for path in EXPECTED:
        await client.fetch(session, path, directory / path, sha256=files[path]["sha256"])
    _show_files(to, directory, files)
    _show_measured(to, json.loads((directory / "measured.json").read_text()))
    return directory


def _make_directory(session: UUID) -> Path:
    """A directory of its own below the current one."""
    now = datetime.now(UTC)
    directory = Path(RESULTS) / f"{now:%Y%m%dT%H%M%SZ}-{str(session)[:8]}"
    directory.mkdir(parents=True)
    return directory


def _show_usage(to: Console, results: Document) -> None:
    """How it ended, and what it took; what the node did not measure is left out."""
    usage = results.get("usage") or {}
    parts = [f"exit code {results.get('exit_code')} ({results.get('reason')})"]
    for member, text in (
        ("cpu_s", "{:.1f} s of CPU"),
        ("peak_memory_bytes", "{:.0f} MB of memory at its peak"),
        ("bytes_staged", "{:.1f} MB staged"),
    ):
        if (value := usage.get(member)) is not None:
            parts.append(text.format(value / 1e6 if "bytes" in member else value))
    if (staging_s := usage.get("staging_s")) is not None:
        parts[-1] += f" in {staging_s * 1000:.0f} ms"
    to.print(render.safe("  " + ", ".join(parts)))
    for note in at(results, "notes") or ():
        to.print(render.safe(f"  {note}"))
    if results.get("exit_code") != 0:
        raise DemoError("the exit code should be 0")


def _show_files(to: Console, directory: Path, files: Mapping[str, Document]) -> None:
    table = Table(title="Fetched through the gateway, checksums verified", title_justify="left")
    table.add_column("saved as", overflow="fold")
    table.add_column("size", justify="right")
    table.add_column("sha256")
    for path in EXPECTED:
        digest = f"{files[path]['sha256'][:_DIGITS_SHOWN]}…"
        table.add_row(
            render.safe(directory / path), render.human_bytes(files[path]["size"]), digest
        )
    to.print(table)


def _show_measured(to: Console, measured: Mapping[str, float]) -> None:
    """The notebook's measurements beside what the generator put into the cube."""
    galaxy = Galaxy()
    found = (
        Measurement("HI flux", "Jy km/s", measured["flux_jy_km_s"], galaxy.flux, 2.0),
        Measurement("velocity", "km/s", measured["velocity_km_s"], galaxy.velocity, 2.5),
        Measurement("rotation", "km/s", measured["rotation_km_s"], galaxy.seen_rotation, 5.0),
    )
    table = Table(title="What the notebook found in the cube", title_justify="left")
    table.add_column("")
    for name in ("measured", "put in"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    for one in found:
        table.add_row(one.name, f"{one.value:.1f}", f"{one.truth:.1f}", one.unit)
    to.print(table)
    if wrong := [one.name for one in found if abs(one.value - one.truth) > one.tolerance]:
        raise DemoError(f"not what was put into the cube: {', '.join(wrong)}")
