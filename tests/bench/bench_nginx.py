"""What a node's answer costs the gateway, against nginx passing such an exchange on unread.

nginx is a proxy in one process, to one stub node, with connections kept; it and the gateway take
turns on the same core. Where it is not installed nothing is measured, and the figure says so.
"""

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from tests.bench.bench_fanout import hold_s
from tests.bench.federation import (
    GATEWAY_CORE,
    Target,
    callers_of,
    check,
    federation,
    measure_cpu,
)
from tests.bench.figures import Figure
from tests.bench.measure import Started, cpu_s, load, pin

_CALLERS: Final = 64
"""Requests under way at once: the most that nginx can find each time it looks."""

_START_S: Final = 5.0
_FOLDERS: Final = "/usr/sbin:/usr/local/sbin"
"""Where daemons are that users do not have on their path."""

_CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_body_buffer_size 64k;
  proxy_buffers 16 16k;
  proxy_buffer_size 16k;
  keepalive_requests 1000000;
  upstream node {{ server {node}; keepalive 128; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://node;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """CPU for a node's answer, to that of an exchange through nginx."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{_FOLDERS}")
    if nginx is None:
        why = "nginx is not installed"
        return [Figure(_name(count), "x nginx", (), note=why) for count in options.nginx]
    return [_ratio(count, nginx, options) for count in options.nginx]


def _name(count: int) -> str:
    return f"cpu per answer to nginx's, N={count}"


def _ratio(count: int, program: str, options: argparse.Namespace) -> Figure:
    with federation(count) as nodes, _proxy(program, nodes.urls[0], nodes.folder) as proxy:
        gateway = nodes.gateway()
        asyncio.run(check(gateway, nodes.urls, "/requests"))
        asyncio.run(measure_cpu(gateway, nodes.urls, options.seconds / 2, "/requests"))
        asyncio.run(_exchange_s(proxy, options.seconds / 2))
        base, ours = [], []
        for _ in range(options.rounds):
            base.append(asyncio.run(_exchange_s(proxy, options.seconds)))
            ours.append(asyncio.run(measure_cpu(gateway, nodes.urls, options.seconds, "/requests")))
    each_hold_s = hold_s(ours)
    return Figure(
        _name(count),
        "x nginx",
        tuple(
            one.asking_s(each_hold_s) / count / exchange_s
            for one, exchange_s in zip(ours, base, strict=True)
        ),
        note=f"nginx {statistics.median(base) * 1e6:.1f} µs",
    )


async def _exchange_s(proxy: Target, seconds: float) -> float:
    """CPU of nginx for one exchange."""
    async with AsyncExitStack() as stack:
        callers = await callers_of(stack, proxy, _CALLERS, "/requests")
        await load(callers, seconds / 10)
        before_s = cpu_s(proxy.process.pid)
        done = await load(callers, seconds)
        return (cpu_s(proxy.process.pid) - before_s) / done


@contextmanager
def _proxy(program: str, node_url: str, folder: Path) -> Iterator[Target]:
    """nginx in front of this node until the block ends.

    Raises
    ------
    RuntimeError
        It did not come up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(folder=folder, node=node_url.removeprefix("http://"), port=port)
    )
    command = [program, "-p", str(folder), "-c", str(config), "-e", "stderr"]
    log = folder / "nginx.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    pin(GATEWAY_CORE, process.pid)
    try:
        until = monotonic() + _START_S
        while not _listens(port):
            if process.poll() is not None or monotonic() > until:
                raise RuntimeError(log.read_text() or "nginx did not come up")
            sleep(0.02)
        yield Target(Started(process.pid, None), f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(_START_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
