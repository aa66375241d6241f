"""What a storage's configuration may be, and how it is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from workers.engine.stores import STORE_KINDS, config_fields, open_store
from workers.engine.stores.config import ConfigInvalid, parse_config
from workers.engine.stores.s3.config import S3Config

KEYS = {"access_key_id": "somebody", "secret_access_key": "s3cr3t-of-theirs"}
CUSTOMER_KEY = base64.b64encode(b"k" * 32).decode()


@pytest.mark.parametrize("kind", STORE_KINDS)
def test_every_field_can_be_shown_when_a_form_is_made(kind: str) -> None:
    fields = config_fields(kind)
    assert len({field.name for field in fields}) == len(fields)
    for field in fields:
        assert field.label
        assert field.type in {"str", "int", "bool"}
        assert field.help or field.choices
        assert field.required is (field.default is None)


def test_secrets_are_marked_and_hidden_when_shown() -> None:
    secret = {field.name for field in config_fields("s3") if field.secret}
    assert secret == {"secret_access_key", "session_token", "customer_key"}
    config = S3Config(
        bucket="b", server_side_encryption="customer", customer_key=CUSTOMER_KEY, **KEYS
    )
    assert KEYS["secret_access_key"] not in repr(config)
    assert CUSTOMER_KEY not in repr(config)


@pytest.mark.parametrize(
    ("kind", "config", "field"),
    [
        ("ftp", {}, "type"),
        ("local", {}, "path"),
        ("local", {"path": ""}, "path"),
        ("local", {"path": "relative"}, "path"),
        ("local", {"path": "/a/../b"}, "path"),
        ("local", {"path": "/a\0b"}, "path"),
        ("local", {"path": 5}, "path"),
        ("local", {"path": "/a", "bucket": "b"}, "bucket"),
        ("s3", {}, "bucket"),
        ("s3", {"bucket": "a/b"}, "bucket"),
        ("s3", {"bucket": "b", "buckets": "b"}, "buckets"),
        ("s3", {"bucket": "b", "access_key_id": "only"}, "secret_access_key"),
        ("s3", {"bucket": "b", "secret_access_key": "only"}, "access_key_id"),
        ("s3", {"bucket": "b", "session_token": "only"}, "session_token"),
        ("s3", {"bucket": "b", "endpoint_url": "host:9000"}, "endpoint_url"),
        ("s3", {"bucket": "b", "endpoint_url": "ftp://host"}, "endpoint_url"),
        ("s3", {"bucket": "b", "endpoint_url": "https://u:p@host"}, "endpoint_url"),
        ("s3", {"bucket": "b", "endpoint_url": "https://host/bucket"}, "endpoint_url"),
        ("s3", {"bucket": "b", "endpoint_url": "https://host:99999"}, "endpoint_url"),
        ("s3", {"bucket": "b", "endpoint_url": "https://[::1"}, "endpoint_url"),
        ("s3", {"bucket": "b", "prefix": "../up"}, "prefix"),
        ("s3", {"bucket": "b", "addressing": "other"}, "addressing"),
        ("s3", {"bucket": "b", "part_size": 1}, "part_size"),
        ("s3", {"bucket": "b", "part_size": "many"}, "part_size"),
        ("s3", {"bucket": "b", "part_size": True}, "part_size"),
        ("s3", {"bucket": "b", "part_size": 6 << 30}, "part_size"),
        ("s3", {"bucket": "b", "upload_threads": 0}, "upload_threads"),
        ("s3", {"bucket": "b", "max_attempts": 99}, "max_attempts"),
        ("s3", {"bucket": "b", "storage_class": "cold storage"}, "storage_class"),
        ("s3", {"bucket": "b", "server_side_encryption": "rot13"}, "server_side_encryption"),
        ("s3", {"bucket": "b", "kms_key_id": "k"}, "kms_key_id"),
        ("s3", {"bucket": "b", "server_side_encryption": "customer"}, "customer_key"),
        ("s3", {"bucket": "b", "customer_key": CUSTOMER_KEY}, "customer_key"),
        ("s3", {"bucket": "b", "ca_pem": "not a certificate"}, "ca_pem"),
        ("s3", {"bucket": "b", "ca_pem": "x", "ca_bundle": "/y"}, "ca_pem"),
    ],
)
def test_config_is_refused_with_its_field_when_it_cannot_be_right(
    kind: str, config: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        open_store(kind, config)
    error = caught.value
    assert (error.field, error.permanent, error.code) == (field, True, "storage_config_invalid")
    assert field in error.message or kind in error.message
    assert error.hint


@pytest.mark.parametrize("key", ["short", base64.b64encode(b"k" * 31).decode(), "%" * 44])
def test_customer_key_is_refused_and_not_quoted_when_it_is_not_32_bytes(key: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        S3Config(bucket="b", server_side_encryption="customer", customer_key=key)
    assert key not in caught.value.message + caught.value.hint


def test_customer_key_is_refused_when_it_would_go_in_the_clear() -> None:
    with pytest.raises(ConfigInvalid):
        S3Config(
            bucket="b",
            server_side_encryption="customer",
            customer_key=CUSTOMER_KEY,
            endpoint_url="http://storage.lan",
        )


def test_close_name_is_suggested_when_a_field_is_unknown() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        open_store("s3", {"bucket": "b", "endpoint": "https://host"})
    assert "endpoint_url" in caught.value.message


def test_values_are_understood_when_a_form_sends_text() -> None:
    config = parse_config(
        S3Config,
        {"bucket": " b ", "part_size": "8388608", "region": "", "prefix": None, **KEYS},
    )
    assert (config.bucket, config.part_size, config.region) == ("b", 8 << 20, "us-east-1")


@pytest.mark.parametrize(
    ("endpoint", "addressing", "path_style"),
    [
        ("", "auto", False),
        ("https://minio.lan", "auto", True),
        ("https://minio.lan", "virtual", False),
        ("", "path", True),
    ],
)
def test_addressing_fits_the_endpoint_when_automatic(
    endpoint: str, addressing: str, path_style: bool
) -> None:
    config = S3Config(bucket="b", endpoint_url=endpoint, addressing=addressing, **KEYS)
    assert config.path_style is path_style
