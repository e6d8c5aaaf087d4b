"""What an error means for a call, and how long a provider asks to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from tryage.failures import Verdict, judge, retry_after_s
from tryage.gateway.upstream_errors import (
    ConnectionBroke,
    ErrorInStream,
    ErrorStatus,
    FirstTokenTimeout,
    Malformed,
    NoRoom,
    Response,
    Unreachable,
)


def waiting(value):
    error = Exception()
    error.response = SimpleNamespace(headers={} if value is None else {"retry-after": value})
    return error


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("17", 17.0), ("0.5", 0.5), (None, None), ("", None), ("soon", None), ("-1", None),
     ("nan", None), ("inf", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
     ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0)],
)  # fmt: skip
def test_a_wait_is_read_in_seconds_or_as_a_date(value, seconds):
    assert retry_after_s(waiting(value)) == seconds


def test_a_date_to_come_is_the_seconds_until_then():
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    assert 590 < retry_after_s(waiting(date)) <= 600


def status(number, body=b"{}"):
    return ErrorStatus(Response(number, {}, body, {}))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (status(500), Verdict.MODEL),
        (status(302), Verdict.MODEL),
        (status(429), Verdict.MODEL),
        (status(400), Verdict.CALL),
        (status(400, b'{"error": {"code": "context_length_exceeded"}}'), Verdict.FIT),
        (
            status(400, b'{"error": {"code": 400, "type": "exceed_context_size_error"}}'),
            Verdict.FIT,
        ),
        (status(400, b'{"error": {"code": ["x"]}}'), Verdict.CALL),
        (status(400, b'{"error": "context_length_exceeded"}'), Verdict.CALL),
        (Malformed("no JSON", 200), Verdict.MODEL),
        (ErrorInStream({"message": "no"}), Verdict.MODEL),
        (ErrorInStream({"code": 400}), Verdict.CALL),
        (ErrorInStream({"code": "content_filter"}), Verdict.CALL),
        (ErrorInStream({"code": "context_length_exceeded"}), Verdict.FIT),
        (ErrorInStream("odd"), Verdict.MODEL),
        (ConnectionBroke(), Verdict.MODEL),
        (Unreachable(), Verdict.MODEL),
        (FirstTokenTimeout(), Verdict.MODEL),
        (NoRoom(1.0), Verdict.FIT),
    ],
)
def test_what_the_gateways_errors_mean(error, verdict):
    assert judge(error) is verdict
