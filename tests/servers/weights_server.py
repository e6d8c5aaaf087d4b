"""A real model behind a real OpenAI-compatible server, in a process of its own on loopback.

    with WeightsServer() as server:
        ChatOpenAI(model=server.model, base_url=server.base_url, api_key="none")
        server.kill()  # in the middle of a stream, say

The server is `transformers serve`, started from Python; it answers one request at a time, and has
no `/v1/models` where there is no cache of models. The weights are the small ones in `weights`: one
core generates some hundreds of tokens a second. An answer ends by itself or after `max_tokens`;
with the fields of `ENDLESS`, only after seconds, so that a test can count on being in mid-stream.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

MODEL = "quill"
WEIGHTS = Path(__file__).with_name("weights")

ENDLESS = {"max_tokens": 3000, "logit_bias": {"0": -100.0}}
"""Fields of a request that is answered for some seconds: token 0, the end, is ruled out."""

READY_S = 120
"""A start takes some five seconds; this is for a machine that does much else."""


class WeightsServer:
    """Serves while the `with` block lasts, or until it is killed.

    Attributes:
        model: The name of the model that it serves.
        base_url: Where clients connect, with the `/v1`.
    """

    model = MODEL

    def __init__(self) -> None:
        self.base_url = ""

    def __enter__(self) -> Self:
        self._log = tempfile.NamedTemporaryFile(prefix="weights-server-")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            cwd=WEIGHTS,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self.base_url = f"{self._wait()}/v1"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._log.close()

    def kill(self) -> None:
        """End the process at once, whatever it is doing; its connections break."""
        self._process.kill()
        self._process.wait()

    def _wait(self) -> str:
        """Return the address that the server prints once it serves."""
        deadline = time.monotonic() + READY_S
        while self._process.poll() is None and time.monotonic() < deadline:
            if found := re.search(r"running on (http://\S+) ", self._printed()):
                return found[1]
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start; it printed:\n{self._printed()}")

    def _printed(self) -> str:
        return Path(self._log.name).read_text()


def _serve() -> None:
    from transformers.cli.serve import Serve

    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A model's name is a path to the library, here one in the working folder.
    Serve(MODEL, device="cpu", dtype="float32", host="127.0.0.1", port=0)


def _end_with_parent() -> None:
    """Wait for the end of the standard input, which the parent holds open while it lives."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    _serve()
