"""One target fuzzed for some time in a process of its own, and what came of it."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.target import kept, load
from tests.fuzz.tokens import write_dictionary

_MAX_INPUT_BYTES: Final = 16 << 10
"""Longest input: the longest seed, twice. Longer ones only make it slower."""

_INPUT_TIMEOUT_S: Final = 20
"""An input that takes as long is a finding; milliseconds are usual, on a machine with nothing else
to do."""

_MEMORY_MB: Final = 1024
"""A process that holds as much is a finding; 150 is usual."""

_START_S: Final = 120
"""Until all is imported and instrumented, and the seeds were run."""

_ROOT: Final = Path(__file__).parents[2]
_LOG_LINES: Final = 30
_EXECUTIONS: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_RATE: Final = re.compile(r"stat::average_exec_per_sec:\s*(\d+)")
_COVERAGE: Final = re.compile(r"\bcov: (\d+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one target. ``finding`` broke a promise; ``coverage`` counts branches."""

    name: str
    executions: int
    per_s: int
    coverage: int
    finding: bytes | None
    log: str

    def line(self) -> str:
        """One line of the table."""
        found = "broke a promise" if self.finding is not None else "held"
        return (
            f"{self.name:16} {self.executions:>9} runs {self.per_s:>6}/s "
            f"{self.coverage:>5} branches  {found}"
        )

    def as_test(self) -> str:
        """The finding as a test case to begin with; its file belongs into the corpus."""
        short = hashlib.sha256(self.finding or b"").hexdigest()[:12]
        return (
            f"# keep the input as tests/fuzz/corpus/{self.name}/{short}\n"
            f"def test_{self.name}_holds_for_{short}() -> None:\n"
            f"    {self.name}.run({self.finding!r})\n"
        )


def fuzz(name: str, module: str, seconds: int, folder: Path, *, seed: int = 0) -> Outcome:
    """Fuzz the target in a module.

    Parameters
    ----------
    folder
        Of this target alone. Inputs that reach something new stay there for the next time.
    seed
        Of the mutations; 0 is another each time.

    Raises
    ------
    RuntimeError
        The fuzzer itself failed.
    """
    corpus, findings = folder / "corpus", folder / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    before = set(findings.iterdir())
    seeds = (*load(module).seeds(), *(path.read_bytes() for path in kept(name)))
    for number, data in enumerate(seeds):
        (corpus / f"seed-{number:03}").write_bytes(data)
    write_dictionary(folder / "dictionary")
    done = subprocess.run(
        (
            *(sys.executable, "-m", "tests.fuzz.worker", module, str(corpus)),
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-max_len={_MAX_INPUT_BYTES}",
            f"-timeout={_INPUT_TIMEOUT_S}",
            f"-rss_limit_mb={_MEMORY_MB}",
            f"-dict={folder / 'dictionary'}",
            f"-artifact_prefix={findings}/",
            "-print_final_stats=1",
        ),
        cwd=_ROOT,
        # What a target has open when it is killed goes with the folder.
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds + _START_S,
        check=False,
    )
    log = done.stdout.decode("utf-8", "replace")
    new = sorted(set(findings.iterdir()) - before)
    if done.returncode and not new:
        raise RuntimeError(f"the fuzzer of {name} ended with {done.returncode}:\n{log}")
    return Outcome(
        name,
        _last(_EXECUTIONS, log),
        _last(_RATE, log),
        _last(_COVERAGE, log),
        new[0].read_bytes() if new else None,
        "\n".join(_told(log)),
    )


def _last(pattern: re.Pattern[str], log: str) -> int:
    found = pattern.findall(log)
    return int(found[-1]) if found else 0


def _told(log: str) -> list[str]:
    """The end of the log without libFuzzer's progress: what broke."""
    lines = [line for line in log.splitlines() if not line.startswith(("#", "stat::", "INFO:"))]
    return lines[-_LOG_LINES:]
