"""No credential that is part of a URL reaches a log."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from django.conf import settings

from panel.logs import JsonLines, MaskLinks, TextLines, masked


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/v1/downloads/SECRET:1abc HTTP/1.1",
        "Not Found: /api/v1/downloads/SECRET",
        "GET /api/v1/daemon/backup/stream/1?token=SECRET&interval=2",
        "GET /x?interval=2&ticket=SECRET",
        "GET /x?%74o%6Ben=SECRET",
        "GET /x?TICKET=SECRET",
        "GET /login?next=/x%3Finterval%3D2%26ticket%3DSECRET",
        "https://s3.example/b/k?X-Amz-Expires=60&X-Amz-Signature=SECRET",
        "https://s3.example/b/k?X-Amz-Security-Token=SECRET",
        "Cannot connect to redis://:SECRET@127.0.0.1:6379/0: refused",
        "mysql://holdfast:SECRET@db/holdfast",
        "GET /x?wrong=tkt_SECRET-SECRET_SECRET",
        "GET /x?wrong=eyJSECRET.eyJSECRET.SECRET-SECRET",
        "Bearer eyJSECRET.eyJSECRET.SECRET was refused",
    ],
)
def test_credential_is_masked_when_a_url_is_logged(line: str) -> None:
    for message, arguments in ((line, ()), ("%s", (line,)), ('%s "%s" %d', ("h", line, 200))):
        record = logging.LogRecord("uvicorn.access", 20, "", 0, message, arguments, None)
        assert MaskLinks().filter(record)
        assert "SECRET" not in record.getMessage()
        assert "***" in record.getMessage()


def test_line_stays_as_it_is_when_there_is_nothing_to_hide() -> None:
    record = logging.LogRecord("x", 20, "", 0, "%s of %d", ("one", 2), None)
    assert MaskLinks().filter(record)
    assert (record.msg, record.args) == ("%s of %d", ("one", 2))
    for line in ("http://127.0.0.1:8000/x for a@b.example", "redis://holdfast@broker:6379/0"):
        assert masked(line) == line


def test_every_handler_masks() -> None:
    assert settings.LOGGING["handlers"]
    for handler in settings.LOGGING["handlers"].values():
        assert "mask_links" in handler["filters"]
    assert settings.LOGGING["loggers"]["uvicorn"] == {"handlers": [], "propagate": True}
    assert settings.LOGGING["loggers"]["uvicorn.access"] == {"handlers": [], "propagate": False}


def test_sql_is_not_logged_at_any_level() -> None:
    level = settings.LOGGING["loggers"]["django.db.backends"]["level"]
    assert logging.getLevelNamesMapping()[level] > logging.DEBUG


LINK = "/api/v1/downloads/SECRET:1abc"


def record_of(**extra: object) -> logging.LogRecord:
    """Return a record with the link in its text, its traceback, its stack and beside them."""
    try:
        raise ValueError(f"GET {LINK}")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("x", 30, "", 0, 'got "%s"', (LINK,), error)
    record.stack_info = f"Stack: {LINK}"
    record.__dict__.update(extra)
    return record


@pytest.mark.parametrize("formatter", [TextLines("{message}", style="{"), JsonLines()])
def test_credential_is_masked_wherever_it_stands(formatter: logging.Formatter) -> None:
    extra = {"path": LINK, "facts": {LINK: [LINK, ValueError(LINK)]}, "url": "/x?ticket=SECRET"}
    line = formatter.format(record_of(**extra))
    assert "SECRET" not in line
    assert line.count("***") >= 3


def test_line_is_one_object_when_the_format_is_json() -> None:
    record = record_of(request_id="abc", user=7, site=1, job="j", request=object(), path="/\udc80")
    record.created = 1_700_000_000.25
    line = JsonLines().format(record)
    assert "\n" not in line
    line.encode()
    found = json.loads(line)
    assert found["timestamp"] == "2023-11-14T22:13:20.250000Z"
    assert (found["level"], found["logger"]) == ("WARNING", "x")
    assert found["message"] == 'got "/api/v1/downloads/***"'
    assert (found["request_id"], found["user"], found["site"], found["job"]) == ("abc", 7, 1, "j")
    assert found["exc_info"].startswith("Traceback")
    assert "request" not in found


def test_line_is_json_when_a_number_is_none() -> None:
    found = json.loads(JsonLines().format(record_of(rate=float("nan"), total=float("inf"))))
    assert (found["rate"], found["total"]) == ("nan", "inf")


def test_ids_stand_behind_the_text_when_they_are_known() -> None:
    formatter = TextLines("{levelname} {message}", style="{")
    record = logging.LogRecord("x", 30, "", 0, "said", (), None)
    assert formatter.format(record) == "WARNING said"
    record.__dict__.update(request_id="abc", site=1)
    assert formatter.format(record) == "WARNING said [request_id=abc site=1]"


def test_every_handler_adds_what_the_line_belongs_to() -> None:
    for handler in settings.LOGGING["handlers"].values():
        assert handler["filters"] == ["add_context", "mask_links"]
        assert handler["formatter"] in settings.LOGGING["formatters"]
