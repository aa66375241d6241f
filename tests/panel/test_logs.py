"""No credential that is part of a URL reaches a log."""

from __future__ import annotations

import logging

import pytest
from django.conf import settings

from panel.logs import MaskLinks


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/v1/downloads/SECRET:1abc HTTP/1.1",
        "Not Found: /api/v1/downloads/SECRET",
        "GET /api/v1/daemon/backup/stream/1?token=SECRET&interval=2",
        "GET /x?interval=2&ticket=SECRET",
        "GET /x?%74o%6Ben=SECRET",
        "GET /x?TICKET=SECRET",
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


def test_every_handler_masks() -> None:
    assert settings.LOGGING["handlers"]
    for handler in settings.LOGGING["handlers"].values():
        assert "mask_links" in handler["filters"]
    for name in ("uvicorn", "uvicorn.access"):
        assert settings.LOGGING["loggers"][name] == {"handlers": [], "propagate": True}
