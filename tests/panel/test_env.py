"""A wrong value in the environment ends the start with one sentence, in real processes."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRET = "do-not-show-this"
GOOD_PRODUCTION = {
    "HOLDFAST_ENVIRONMENT": "production",
    "HOLDFAST_SECRET_KEY": "a-key-of-fifty-characters-with-0123456789-in-it-zzz",
    "HOLDFAST_ENCRYPTION_KEYS": "3kKqYPtv5yXc0mZr8vB7WQd1nT4sJ6uL9eHfGgAoIxE=",
}


def _manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")
    }
    inherited["HOLDFAST_DATABASE_URL"] = "sqlite://:memory:"
    return subprocess.run(
        [sys.executable, "manage.py", *(arguments or ("check",))],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


WRONG = {
    "another environment": ({"HOLDFAST_ENVIRONMENT": "staging"}, "development, production"),
    "no secret key in production": (
        {**GOOD_PRODUCTION, "HOLDFAST_SECRET_KEY": ""},
        "HOLDFAST_SECRET_KEY must be set in production",
    ),
    "a short secret key": ({"HOLDFAST_SECRET_KEY": SECRET}, "50 random characters or more"),
    "a secret key that is not random": (
        {**GOOD_PRODUCTION, "HOLDFAST_SECRET_KEY": f"{SECRET[:2]}" * 40},
        "50 random characters or more",
    ),
    "a short token for metrics": (
        {"HOLDFAST_METRICS_TOKEN": SECRET},
        "HOLDFAST_METRICS_TOKEN must be left out or have 32 characters or more",
    ),
    "a relative path of keys": (
        {"HOLDFAST_AGE_IDENTITY_FILE": "age.key"},
        "HOLDFAST_AGE_IDENTITY_FILE must be an absolute path",
    ),
    "a prefix that ends with a slash": (
        {"HOLDFAST_URL_PREFIX": "/holdfast/"},
        "HOLDFAST_URL_PREFIX must be left out or be a path as /holdfast",
    ),
    "a prefix that is a URL": (
        {"HOLDFAST_URL_PREFIX": "https://example.com/holdfast"},
        "HOLDFAST_URL_PREFIX must be left out or be a path as /holdfast",
    ),
    "a prefix that the panel's own addresses begin with": (
        {"HOLDFAST_URL_PREFIX": "/api/holdfast"},
        "HOLDFAST_URL_PREFIX must not begin with a word that the panel's own addresses begin with",
    ),
    "a proxy that is no address": (
        {"HOLDFAST_TRUSTED_PROXIES": "10.0.0.1, proxy.example.com"},
        "HOLDFAST_TRUSTED_PROXIES holds 'proxy.example.com'",
    ),
    "a network that is an address": (
        {"HOLDFAST_TRUSTED_PROXIES": "10.0.0.1/8"},
        "with zeros behind the network's part",
    ),
    "a log format that is none": (
        {"HOLDFAST_LOG_FORMAT": "xml"},
        '"HOLDFAST_LOG_FORMAT": Must be one of: text, json',
    ),
    "no encryption key in production": (
        {**GOOD_PRODUCTION, "HOLDFAST_ENCRYPTION_KEYS": ""},
        "HOLDFAST_ENCRYPTION_KEYS must be set in production",
    ),
    "an encryption key that is no base64": (
        {"HOLDFAST_ENCRYPTION_KEYS": f"{SECRET}!"},
        "not 32 bytes in URL-safe base64",
    ),
    "a short second encryption key": (
        {"HOLDFAST_ENCRYPTION_KEYS": f"{GOOD_PRODUCTION['HOLDFAST_ENCRYPTION_KEYS']},c2hvcnQ="},
        "not 32 bytes in URL-safe base64",
    ),
    **{
        f"an encryption key of {kind}": (
            {"HOLDFAST_ENCRYPTION_KEYS": base64.urlsafe_b64encode(key).decode()},
            "holds a key that is not random",
        )
        for kind, key in (
            ("zeros", bytes(32)),
            ("one letter", b"a" * 32),
            ("a pattern", bytes(range(8)) * 4),
            ("digits and letters", b"0123456789abcdefghijklmnopqrstuv"),
        )
    },
    "a metrics token that can be guessed": (
        {"HOLDFAST_METRICS_TOKEN": SECRET},
        "HOLDFAST_METRICS_TOKEN must be left out or have 32 characters or more",
    ),
    "no host": ({"HOLDFAST_ALLOWED_HOSTS": " , "}, "HOLDFAST_ALLOWED_HOSTS names no host"),
    "a database of another kind": (
        {"HOLDFAST_DATABASE_URL": f"oracle9://me:{SECRET}@host/name"},
        "HOLDFAST_DATABASE_URL is not a usable database URL",
    ),
    "a database URL that is none": (
        {"HOLDFAST_DATABASE_URL": f"me:{SECRET}@host"},
        "HOLDFAST_DATABASE_URL is not a usable database URL",
    ),
    "a broker of another kind": (
        {"HOLDFAST_BROKER_URL": f"amqp://me:{SECRET}@host"},
        '"HOLDFAST_BROKER_URL": Must be redis://',
    ),
    "a log level": ({"HOLDFAST_LOG_LEVEL": "loud"}, '"HOLDFAST_LOG_LEVEL": Must be one of'),
    "a relative spool": (
        {"HOLDFAST_SPOOL_DIRECTORY": "spool"},
        "HOLDFAST_SPOOL_DIRECTORY must be an absolute path",
    ),
    "a number in words": (
        {"HOLDFAST_LEASE_SECONDS": "soon"},
        '"HOLDFAST_LEASE_SECONDS": Not a valid integer',
    ),
    "a lease that no worker could keep": (
        {"HOLDFAST_LEASE_SECONDS": "2"},
        '"HOLDFAST_LEASE_SECONDS": Must be greater than or equal to 3',
    ),
    **{
        f"zero in {name}": ({name: "0"}, f'"{name}": Must be greater than or equal to 1')
        for name in (
            "HOLDFAST_CLAIM_SECONDS",
            "HOLDFAST_ACCESS_TOKEN_MINUTES",
            "HOLDFAST_NODE_ANSWER_SECONDS",
            "HOLDFAST_DOWNLOAD_URL_SECONDS",
        )
    },
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_start_ends_with_one_sentence_when_the_environment_has(wrong: str) -> None:
    environment, expected = WRONG[wrong]
    done = _manage(environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("manage.py: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert expected in done.stderr
    assert SECRET not in done.stderr


def test_the_traceback_is_shown_when_it_is_asked_for() -> None:
    done = _manage({"HOLDFAST_LOG_LEVEL": "loud"}, "check", "--traceback")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "HOLDFAST_LOG_LEVEL" in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {},
        GOOD_PRODUCTION,
        {"HOLDFAST_BROKER_URL": "rediss://:password@host:6380/1"},
        {"HOLDFAST_BROKER_URL": "redis+socket:///run/redis.sock"},
        {"HOLDFAST_SPOOL_DIRECTORY": "/var/tmp/spool", "HOLDFAST_LEASE_SECONDS": "3"},
    ],
)
def test_the_check_passes_when_every_value_is_good(environment: dict[str, str]) -> None:
    done = _manage(environment)
    assert done.returncode == 0, done.stderr
