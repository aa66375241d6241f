"""`manage.py check --deploy` with the production example, and what it says of others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from panel import checks
from panel.addresses import networks
from panel.env import derived_key

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
import json
from django.conf import settings
names = (
    "SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE",
    "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "DEBUG",
)
print(json.dumps([getattr(settings, name) for name in names]))
"""


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of deploy/holdfast.env, with real secrets in its files."""
    folder = tmp_path_factory.mktemp("etc") / "secrets"
    subprocess.run([ROOT / "deploy/make-secrets", folder], check=True, capture_output=True)
    lines = (ROOT / "deploy/holdfast.env").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return {name: value.replace("/etc/holdfast/secrets", str(folder)) for name, value in pairs}


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**inherited, "HOLDFAST_NODE_FILE": "", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def check(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return manage(environment, "check", "--deploy", "--fail-level", "WARNING")


def test_production_example_is_clean(production: dict[str, str]) -> None:
    done = check(production)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout + done.stderr
    shown = manage(production, "shell", "--verbosity", "0", "-c", SETTINGS).stdout
    assert shown.strip() == (
        '["__Host-sessionid", "__Host-csrftoken", true, true, true, 31536000, false]'
    )


@pytest.fixture
def good(settings: Any) -> Any:
    """Settings that no check has a word against."""
    settings.HOLDFAST_ENVIRONMENT = "production"
    settings.DATABASES["default"]["ENGINE"] = "django.db.backends.mysql"
    settings.ALLOWED_HOSTS = ["backups.example.com"]
    settings.CORS_ALLOWED_ORIGINS = settings.CSRF_TRUSTED_ORIGINS = ["https://a.example.com"]
    settings.SECURE_SSL_REDIRECT = True
    settings.HOLDFAST_TRUSTED_PROXIES = networks(["127.0.0.1"], "X")
    settings.HOLDFAST_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    settings.HOLDFAST_METRICS_TOKEN = "t" * 32
    yield settings
    settings.DATABASES["default"]["ENGINE"] = "django.db.backends.sqlite3"


def test_nothing_is_said_of_what_is_good(good: Any) -> None:
    assert checks.check_deployment() == []


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("HOLDFAST_ENVIRONMENT", "development", "W001"),
        ("CORS_ALLOWED_ORIGINS", ["*"], "E001"),
        ("CSRF_TRUSTED_ORIGINS", ["https://*.example.com"], "E001"),
        ("CORS_ALLOWED_ORIGINS", ["http://front.example.com"], "W003"),
        ("ALLOWED_HOSTS", ["*"], "E002"),
        ("HOLDFAST_TRUSTED_PROXIES", networks(["0.0.0.0/0"], "X"), "E003"),
        ("HOLDFAST_TRUSTED_PROXIES", networks(["10.0.0.1", "::/0"], "X"), "E003"),
        ("HOLDFAST_TRUSTED_PROXIES", [], "E004"),
        # More than a missing token cannot be held against anybody who has no Prometheus.
        ("HOLDFAST_METRICS_TOKEN", "", "I001"),
    ],
)
def test_what_is_unfit_for_production_is_told_with_a_hint(
    name: str, value: Any, found: str, good: Any
) -> None:
    setattr(good, name, value)
    [message] = checks.check_deployment()
    assert message.id == f"holdfast.{found}"
    assert message.hint


def test_sqlite_and_a_derived_key_are_told(good: Any) -> None:
    good.DATABASES["default"]["ENGINE"] = "django.db.backends.sqlite3"
    good.HOLDFAST_ENCRYPTION_KEYS = [*good.HOLDFAST_ENCRYPTION_KEYS, derived_key(good.SECRET_KEY)]
    database, key = checks.check_deployment()
    assert (database.id, key.id) == ("holdfast.W002", "holdfast.E005")
    assert derived_key(good.SECRET_KEY) not in key.msg + str(key.hint)
