"""`tryage serve`: what it prints, how it ends, and what it says when it cannot begin."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from tests.gateway.serving import until
from tryage.gateway.config import EXAMPLE

SAID = [{"role": "user", "content": "Hi"}]
TRYAGE = [sys.executable, "-c", "from tryage.cli import main; main()"]


@pytest.fixture
def config(tmp_path, upstream):
    file = tmp_path / "gateway.toml"
    file.write_text(
        f"""
        server.grace_s = 600
        record.url = "sqlite:///{tmp_path}/tryage.db"
        [[upstreams]]
        name = "small"
        base_url = "{upstream.base_url}"
        key_env = "KEY_OF_SMALL"
        card = {{benchmarks = {{mmlu = 0.9}}}}
        [[upstreams]]
        name = "spare"
        base_url = "{upstream.base_url}"
        card = {{benchmarks = {{mmlu = 0.1}}}}
        """
    )
    return file


@contextlib.contextmanager
def running(config, *more):
    """Run the command; yields the process and the address that it prints."""
    environment = {**os.environ, "KEY_OF_SMALL": "sk-very-secret", "OMP_NUM_THREADS": "1"}
    command = [*TRYAGE, "serve", "--config", str(config), "--port", "0", *more]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        first = process.stdout.readline()
        found = re.search(r"http://\S+", first)
        assert found, first + process.stdout.read()
        until(lambda: _listens(found[0]))
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _listens(url):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url.replace("/v1", "/health"), timeout=60).status_code == 200
    return False


def test_it_serves_and_finishes_what_runs_when_it_is_told_to_end(config, upstream):
    upstream.behave("small", "hang")  # until it is released; then the other one answers
    with running(config) as (process, url):
        heard = []

        def ask():
            with httpx.stream(
                "POST",
                f"{url}/chat/completions",
                json={"messages": SAID, "stream": True},
                timeout=60,
            ) as answer:
                heard.extend(answer.iter_lines())

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: upstream.begun["small"] == 1)
        process.send_signal(signal.SIGTERM)

        def refused():
            return httpx.get(url.replace("/v1", "/ready"), timeout=60).status_code == 503

        until(refused)
        late = httpx.post(f"{url}/chat/completions", json={"messages": SAID}, timeout=60)
        assert (late.status_code, late.headers["retry-after"]) == (503, "1")
        assert late.json()["error"]["code"] == "shutting_down"
        upstream.release()
        asking.join()
        printed = process.stdout.read()
        assert process.wait() == 0

    assert heard[-2:] == ["data: [DONE]", ""]
    assert "small: small at http://127.0.0.1" in printed
    assert "key from KEY_OF_SMALL" in printed
    assert "very-secret" not in printed
    assert len(printed.splitlines()) == 2  # nothing is logged of requests


def test_a_second_signal_and_the_end_of_the_grace_end_it_at_once(config, upstream):
    upstream.behave("small", "hang")
    with running(config) as (process, url):
        asking = threading.Thread(
            target=lambda: _quietly(f"{url}/chat/completions", {"messages": SAID})
        )
        asking.start()
        until(lambda: upstream.begun["small"] == 1)
        process.send_signal(signal.SIGINT)
        until(lambda: httpx.get(url.replace("/v1", "/ready"), timeout=60).status_code == 503)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        asking.join()
    until(lambda: upstream.hung_up["small"] == 1)


def _quietly(url, body):
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(url, json=body, timeout=60)


def failed(*command, **environment):
    done = subprocess.run(
        [*TRYAGE, *command], capture_output=True, text=True, env={**os.environ, **environment}
    )
    return done.returncode, done.stdout, done.stderr


def test_what_keeps_it_from_serving_is_one_line_and_a_status(config, tmp_path):
    status, _, told = failed("serve", "--config", str(config))
    assert (status, told.count("\n")) == (2, 1)
    assert "KEY_OF_SMALL, which is not set" in told

    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        command = ("serve", "--config", str(config), "--port", port)
        status, _, told = failed(*command, KEY_OF_SMALL="k")
    assert (status, told.count("\n")) == (1, 1)
    assert f"cannot listen on 127.0.0.1:{port}" in told

    status, _, told = failed("serve", "--config", str(tmp_path / "none.toml"))
    assert (status, told.count("\n")) == (2, 1)


def test_an_example_is_printed_to_begin_from():
    assert failed("serve", "--example") == (0, EXAMPLE.read_text(), "")
