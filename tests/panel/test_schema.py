"""/api/schema/, asked for by several at once in a process that has made none yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASK = """
import django
django.setup()
from concurrent.futures import ThreadPoolExecutor
from django.test import Client
def ask(_):
    client = Client(raise_request_exception=False, HTTP_HOST="localhost")
    return client.get("/api/schema/?format=json").status_code
with ThreadPoolExecutor(4) as pool:
    print(*pool.map(ask, range(4)))
"""


def test_everybody_gets_it_when_several_ask_first_at_once() -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "panel.settings",
        "HOLDFAST_DATABASE_URL": "sqlite://:memory:",
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["200"] * 4, done.stderr[-2000:]
