"""What `tryage serve` is told: every value checked, with its unit in its name."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tryage.flags import Flags

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Server(_Part):
    """`[server]`: where to listen, and the bounds of a request."""

    host: Name = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    max_body_mb: Annotated[float, Field(gt=0)] = 20
    max_header_kb: Annotated[float, Field(gt=0)] = 32
    body_timeout_s: Seconds = 15
    write_timeout_s: Seconds = 60
    hosts: tuple[Name, ...] = ()
    grace_s: Annotated[float, Field(ge=0)] = 30
    reference: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether nobody beyond this machine can connect."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, and none but this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _flags(text: str) -> str:
    Flags.parse(text)
    return text


class Routing(_Part):
    """`[routing]`: what holds for every decision."""

    flags: Annotated[str, AfterValidator(_flags)] = ""
    library: Path | None = None
    prompt_flags: bool = False
    predictor: Name = "default"

    def beside(self, file: Path) -> Routing:
        """Return these with paths that are read from the folder of the config file."""
        paths: dict[str, Path | str] = {}
        if self.library is not None:
            paths["library"] = file.parent / self.library
        if self.predictor != "default":
            paths["predictor"] = str(file.parent / self.predictor)
        return self.model_copy(update=paths)


class Timeouts(_Part):
    """`[timeouts]`, and `[upstreams.timeouts]` for one of them; each holds for one call."""

    connect_s: Seconds = 5
    first_token_s: Seconds = 60
    between_tokens_s: Seconds = 30
    whole_s: Seconds = 600

    def but(self, other: Timeouts) -> Timeouts:
        """Return these with what the other one sets in their place."""
        return self.model_copy(
            update={name: getattr(other, name) for name in other.model_fields_set}
        )


class Hedge(_Part):
    """`[hedge]`: after how long without content a second model is asked as well."""

    after_s: Seconds | None = None


class Breaker(_Part):
    """`[breaker]`: how long a model that fails is left in peace."""

    first_rest_s: Seconds = 5
    longest_rest_s: Seconds = 120


class Keys(_Part):
    """`[keys]`: whether clients need one; by default where others than this machine can call."""

    required: bool | None = None


class Record(_Part):
    """`[record]`: where every request is written down."""

    url: Name = "sqlite:///tryage.db"
    prompts: bool = False
    buffer: Count = 10_000

    def beside(self, file: Path) -> Record:
        """Return these with a SQLite file that is found from the folder of the config file."""
        scheme, _, database = self.url.partition(":///")
        if scheme != "sqlite" or database in ("", ":memory:"):
            return self
        return self.model_copy(update={"url": f"sqlite:///{file.parent / database}"})


class Watch(_Part):
    """`[watch]`: what shows how the gateway does."""

    page: bool = True
    metrics: bool = True
    otlp_endpoint: str | None = None


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give an address such as https://api.example.com/v1")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("give the address alone, without a query, a fragment or a key in it")
    return text.rstrip("/")


class UpstreamSettings(_Part):
    """`[[upstreams]]`: one model behind one OpenAI-compatible endpoint."""

    name: Name
    model: Name | None = None
    base_url: Annotated[str, AfterValidator(_base_url)]
    key_env: Name | None = None
    requests_per_minute: Count | None = None
    max_concurrent: Count | None = None
    card: dict[str, Any] = Field(default_factory=dict)
    timeouts: Timeouts = Timeouts()

    @property
    def served_as(self) -> str:
        """What the upstream calls the model."""
        return self.model or self.name


class Settings(_Part):
    """All that `tryage serve` is told; every value has been checked.

    Example:
        >>> settings = Settings(upstreams=[{"name": "m", "base_url": "http://127.0.0.1:1/v1"}])
        >>> settings.server.port, settings.keys_required
        (8000, False)
    """

    server: Server = Server()
    routing: Routing = Routing()
    timeouts: Timeouts = Timeouts()
    hedge: Hedge = Hedge()
    breaker: Breaker = Breaker()
    keys: Keys = Keys()
    record: Record = Record()
    watch: Watch = Watch()
    upstreams: Annotated[tuple[UpstreamSettings, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        for upstream in self.upstreams:
            if upstream.name.partition(":")[0].lower() == "tryage":
                raise ValueError(f"an upstream is named {upstream.name!r}; tryage is the router")
        return self

    @property
    def keys_required(self) -> bool:
        """Whether a client needs a key."""
        required = self.keys.required
        return not self.server.is_loopback if required is None else required
