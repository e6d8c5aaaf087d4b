"""What `tryage serve` adds to an upstream's own time, beside LiteLLM's proxy; and its memory.

    python benchmarks/gateway.py [--litellm PYTHON] [--seconds S] [--rounds N] [--requests N]
    python benchmarks/gateway.py --memory      # that alone, printed as it comes

Writes `results/gateway.md`. LiteLLM's proxy is measured where `--litellm` names the Python of an
environment that holds it:

    python -m venv litellm && litellm/bin/pip install 'litellm[proxy]'

Both are one process before the same three models of one upstream, which answers at once, and are
asked with the same bytes. The gateway is as it ships: it decides every request by its prompt,
writes it into the record (SQLite), and keeps metrics and the page. LiteLLM picks one of the three
at random, and writes nothing down. The ways take turns, so that a noisy machine slows all alike.
Each connection asks again as soon as it has been answered: with 16 or 128 of them, what is added is
mostly the time in line at a processor that is never idle.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

from http_load import Times, load, upstream
from report import write
from rich.progress import track

CONNECTIONS = (1, 16, 128)
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1")  # for others LiteLLM looks for tokenizers online
STEP = 10_000
UPSTREAM, GATEWAY, LITELLM = "the upstream alone", "tryage serve", "LiteLLM's proxy"
PROMPT = (
    "Explain to a student of physics, in plain words and with one example from daily life, why "
    "entropy never falls in a closed system, what Maxwell's demon would have to do for it to fall, "
    "and why the demon cannot be built. Name the assumption that most textbooks leave out."
)


def request(*, stream: bool) -> bytes:
    """Return the bytes of a request."""
    body: dict[str, object] = {"model": "tryage", "messages": [{"role": "user", "content": PROMPT}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    content = json.dumps(body).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer none\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    return head % len(content) + content


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[int]:
    """Run a server; yield its process id once it answers."""
    own = {
        "OMP_NUM_THREADS": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it looks for prices on the network
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # on loopback, as ours
    }
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | own, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + 300
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{command[0]} does not serve:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def gateway(upstream_port: int) -> Iterator[tuple[int, int]]:
    """Yield the port and the process id of a gateway with a record of its own."""
    port = _free_port()
    tables = [f"[server]\nport = {port}"]
    for model in MODELS:
        url = f"http://127.0.0.1:{upstream_port}/v1"
        tables.append(f'[[upstreams]]\nname = "{model}"\nbase_url = "{url}"')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gateway.toml").write_text("\n".join(tables), encoding="utf-8")
        main = "from tryage.cli import main; main()"
        command = [sys.executable, "-c", main, "serve", "--config", "gateway.toml"]
        with running(command, port, folder) as process:
            yield port, process


@contextmanager
def litellm(python: Path, upstream_port: int) -> Iterator[int]:
    """Yield the port of LiteLLM's proxy before the same models."""
    port = _free_port()
    url = f"http://127.0.0.1:{upstream_port}/v1"
    models = [
        {
            "model_name": "tryage",
            "litellm_params": {"model": f"openai/{model}", "api_base": url, "api_key": "none"},
        }
        for model in MODELS
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # JSON is YAML as well.
        (folder / "config.yaml").write_text(json.dumps({"model_list": models}), encoding="utf-8")
        command = [str(python.absolute().parent / "litellm"), "--config", "config.yaml"]
        options = ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
        with running([*command, *options], port, folder):
            yield port


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def measure(ports: dict[str, int], seconds: float, rounds: int) -> list[list[str]]:
    """Return a row for each load and each way, which take turns."""
    loads = [(stream, count) for stream in (False, True) for count in CONNECTIONS]
    taken: dict[tuple[bool, int, str], list[Times]] = {}
    turns = [(*one, way) for one in loads for _ in range(rounds) for way in ports]
    for way, port in ports.items():
        for stream, count in loads:
            _check(way, load(port, [request(stream=stream)], count, seconds=0.5))
    for stream, count, way in track(turns, description="loads", transient=True):
        done = _check(way, load(ports[way], [request(stream=stream)], count, seconds=seconds))
        taken.setdefault((stream, count, way), []).append(done)
    rows = []
    for (stream, count, way), times in taken.items():
        alone = taken[stream, count, UPSTREAM]
        kind = "stream" if stream else "plain"
        rows.append([kind, str(count), way, *_figures(times, alone, stream=stream)])
    return rows


def _check(way: str, times: Times) -> Times:
    if times.failed or not times.whole_s:
        raise SystemExit(f"{way}: {times.failed} answers went wrong: {times.example[:2000]!r}")
    return times


def _figures(times: list[Times], alone: list[Times], *, stream: bool) -> list[str]:
    """Return requests a second, the latency, and what it is over that of the upstream alone."""
    rate = statistics.median(len(t.whole_s) / t.seconds for t in times)
    half, most = _p50_p99([t.whole_s for t in times])
    half_alone, most_alone = _p50_p99([t.whole_s for t in alone])
    first = _p50_p99([t.first_s for t in times])[0] - _p50_p99([t.first_s for t in alone])[0]
    figures = [f"{rate:,.0f}", f"{half:.2f}", f"{most:.2f}"]
    if times is alone:
        return [*figures, "", "", ""]
    added = [f"{half - half_alone:.2f}", f"{most - most_alone:.2f}"]
    return [*figures, *added, f"{first:.2f}" if stream else ""]


def _p50_p99(rounds: list[list[float]]) -> tuple[float, float]:
    """Return the milliseconds that half, and 99 in 100, of the answers took at most."""
    cuts = statistics.quantiles([1e3 * value for one in rounds for value in one], n=100)
    return cuts[49], cuts[98]


def memory(upstream_port: int, requests: int) -> list[str]:
    """Return lines that say how much memory a fresh gateway held after so many requests."""
    mixed = [request(stream=False), request(stream=True)]
    with gateway(upstream_port) as (port, process):
        told = [f"{_resident_mb(process):.0f} MB at the start"]
        for before, mark in pairwise([0, *range(STEP, requests, STEP), requests]):
            _check(GATEWAY, load(port, mixed, 16, most=mark - before))
            told.append(f"{_resident_mb(process):.0f} MB after {mark:,}")
            print(told[-1], flush=True)
    return [
        f"Resident memory of the gateway, by requests, half of them streams: {', '.join(told)}."
    ]


def _resident_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s*(\d+) kB", status)
    assert found, "Linux tells how much memory a process holds"
    return int(found[1]) / 1e3


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--litellm", type=Path, metavar="PYTHON", help="of its environment")
    parser.add_argument("--seconds", type=float, default=4, help="of each load in each round")
    parser.add_argument("--rounds", type=int, default=3, help="how often the ways take turns")
    parser.add_argument("--requests", type=int, default=100_000, help="for the memory")
    parser.add_argument("--memory", action="store_true", help="measure the memory alone")
    options = parser.parse_args()
    with upstream() as source:
        if options.memory:
            memory(source, options.requests)
            return
        with ExitStack() as stack:
            ports = {UPSTREAM: source, GATEWAY: stack.enter_context(gateway(source))[0]}
            if options.litellm:
                ports[LITELLM] = stack.enter_context(litellm(options.litellm, source))
            rows = measure(ports, options.seconds, options.rounds)
        below = memory(source, options.requests)
    if not options.litellm:
        below.append("LiteLLM's proxy was not measured: no `--litellm PYTHON` was given.")
    write(
        "gateway",
        "What `tryage serve` adds to an upstream's own time; target ≤ 2 ms at one connection",
        (
            "answers", "connections", "way", "requests/s", "p50, ms", "p99, ms", "added p50, ms",
            "added p99, ms", "added until the first content, p50, ms",
        ),
        rows,
        below,
    )  # fmt: skip


if __name__ == "__main__":
    main()
