"""`tryage serve`: the OpenAI-compatible gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tryage.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from tryage.gateway.settings import Settings


def serve(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file: upstreams, limits, timeouts.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Listen there instead of the file's host.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="Likewise; 0 picks a free one."),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a config file to begin from, and end.")
    ] = False,
) -> None:
    """Serve OpenAI's API, and route every call to the best of the upstreams.

    Clients set their base URL to the address that is printed, and ask for the model `tryage`.

    Example: tryage serve --config gateway.toml
    """
    try:
        from tryage.gateway import serve as server
        from tryage.gateway.assembly import assemble
        from tryage.gateway.config import EXAMPLE, read_settings
    except ImportError as error:
        raise MissingExtra(
            f"`tryage serve` needs {error.name}: pip install 'tryage[gateway]'"
        ) from error
    if example:
        typer.echo(EXAMPLE.read_text(encoding="utf-8"), nl=False)
        return
    if config is None:
        raise UsageError("--config FILE is missing; `tryage serve --example` prints one.")
    settings = _with(read_settings(config), host, port)
    app = assemble(settings)
    with server.listen(settings.server) as bound:
        _say(settings, bound.getsockname()[1])
        server.server_of(app, settings.server).run([bound])


def _with(settings: Settings, host: str | None, port: int | None) -> Settings:
    """Return the settings with what the command line says instead."""
    given = {"host": host, "port": port}
    changed = {key: value for key, value in given.items() if value is not None}
    return settings.model_copy(update={"server": settings.server.model_copy(update=changed)})


def _say(settings: Settings, port: int) -> None:
    host = settings.server.host
    address = f"[{host}]" if ":" in host else host
    typer.echo(f"listening on http://{address}:{port}/v1")
    for upstream in settings.upstreams:
        key = f", key from {upstream.key_env}" if upstream.key_env else ""
        typer.echo(f"  {upstream.name}: {upstream.served_as} at {upstream.base_url}{key}")
