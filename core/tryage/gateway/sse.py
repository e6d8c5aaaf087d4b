"""Server-sent events: cut into events that keep their bytes, and read for what they show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tryage.gateway import jsons
from tryage.gateway.wire import text_in, usage_in
from tryage.spend import Usage

_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA = re.compile(rb"^data:[ ]?(.*)$", re.MULTILINE)
_DONE = b"[DONE]"


class Event(NamedTuple):
    """One event, with the blank line that ends it.

    Attributes:
        raw: Its bytes, as they came.
        value: The object of its data; `None` for a comment and for the end.
        done: Whether it is the one that ends the stream.
    """

    raw: bytes
    value: dict[str, Any] | None = None
    done: bool = False

    @property
    def error(self) -> object:
        """The error that it tells of; `None` for ordinary ones."""
        return None if self.value is None else self.value.get("error")

    @property
    def is_comment(self) -> bool:
        """Whether it holds no data: a sign of life, and no more."""
        return self.value is None and not self.done


class Splitter:
    """Cuts bytes into events, wherever the chunks that they come in begin and end.

    Example:
        >>> splitter = Splitter()
        >>> splitter.feed(b'data: {"a"')
        ([], False)
        >>> events, broken = splitter.feed(b': 1}' + bytes([10, 10]))
        >>> events[0].value
        {'a': 1}
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> tuple[list[Event], bool]:
        """Return the events that end in this chunk, and whether the one after them is broken.

        Broken is one whose data is no JSON object.
        """
        text = self._rest + chunk if self._rest else chunk
        events: list[Event] = []
        start = 0
        for blank in _BLANK_LINE.finditer(text):
            try:
                events.append(read_event(text[start : blank.end()]))
            except ValueError:
                return events, True
            start = blank.end()
        self._rest = text[start:]
        return events, False

    def finish(self) -> tuple[list[Event], bool]:
        """Return likewise the event that the end of the stream cut short of its blank line."""
        rest, self._rest = self._rest, b""
        try:
            return ([read_event(rest)] if rest.strip() else []), False
        except ValueError:
            return [], True


def read_event(raw: bytes) -> Event:
    """Return the event of its bytes.

    Raises:
        ValueError: Its data is no JSON object.
    """
    lines = _DATA.findall(raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    if not lines:
        return Event(raw)
    data = b"\n".join(lines).strip()
    if data == _DONE:
        return Event(raw, done=True)
    value = jsons.loads(data)
    if not isinstance(value, dict):
        raise ValueError("a chunk of the stream is no JSON object")
    return Event(raw, value)


def event_of(value: Mapping[str, Any]) -> bytes:
    """Return the bytes of an event of our own."""
    return b"data: " + jsons.dumps(value) + b"\n\n"


def has_content(event: Event) -> bool:
    """Return whether an event shows the client anything: text, a tool call, an ending."""
    return any(_shows(choice) for choice in _choices(event.value))


class Progress:
    """What has been seen of a stream.

    Attributes:
        usage: The tokens that it reported, if it did.
        tokens: How many events had content: about as many tokens, where nothing is reported.
        done: Whether its end was announced.
        shown: Whether there was any content.
        failed: Whether it told of an error.
        last: The latest chunk.
    """

    def __init__(self, *, keep_text: bool = False) -> None:
        self.usage: Usage | None = None
        self.tokens = 0
        self.done = False
        self.shown = False
        self.failed = False
        self.last: Mapping[str, Any] = {}
        self._texts: list[str] | None = [] if keep_text else None
        self._open: set[Any] = set()
        self._finished = False

    def saw(self, event: Event) -> None:
        """Take note of an event."""
        self.done = self.done or event.done
        if event.value is None:
            return
        self.last = event.value
        self.failed = self.failed or event.error is not None
        self.usage = usage_in(event.value) or self.usage
        for choice in _choices(event.value):
            if not _shows(choice):
                continue
            self.shown = True
            if choice.get("finish_reason"):
                self._open.discard(choice.get("index"))
                self._finished = True
            else:
                self._open.add(choice.get("index"))
                self.tokens += 1
        if self._texts is not None:
            self._texts.append(text_in(event.value))

    @property
    def is_whole(self) -> bool:
        """Whether the answer came to its end: it was announced, or every choice finished."""
        return self.done or (self._finished and not self._open)

    @property
    def text(self) -> str | None:
        """The text of the first choice, where it is kept."""
        return None if self._texts is None else "".join(self._texts)


def _choices(value: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    choices = value.get("choices") if value else None
    return [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []


def _shows(choice: Mapping[str, Any]) -> bool:
    if choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(v for key, v in delta.items() if key != "role")
