"""What an S3 storage's options change in the requests, and how little memory an upload takes."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contracts.store_sources import BytesSource, PutCall, digest_of, pattern, start_put
from tests.servers import Daemon, accepts, free_port
from tests.servers.faults import FaultProxy
from tests.servers.moto import S3Server
from tests.servers.rclone import rclone_binary
from workers.engine.errors import EngineError
from workers.engine.stores import open_store

KEY = "node/site/site.tar.zst"
LARGE = (5 << 20) + 100
CUSTOMER_KEY = base64.b64encode(bytes(range(32))).decode()
MEMORY_BYTES = 300 << 20


@pytest.mark.parametrize("size", [100, LARGE])
def test_class_and_encryption_are_asked_for_when_chosen(
    moto_s3: S3Server, fault_proxy: Callable[..., FaultProxy], size: int, tmp_path: Path
) -> None:
    config = moto_s3.config(
        prefix=f"options/{tmp_path.name}",
        storage_class="STANDARD_IA",
        server_side_encryption="aws:kms",
        kms_key_id="key-of-the-backups",
    )
    source = BytesSource(pattern(size))
    PutCall(open_store("s3", config), KEY)(source)
    head = moto_s3.client().head_object(Bucket=moto_s3.bucket, Key=f"{config['prefix']}/{KEY}")
    assert head["StorageClass"] == "STANDARD_IA"
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"] == "key-of-the-backups"


def test_etag_proves_nothing_when_the_object_is_encrypted_with_kms(moto_s3: S3Server) -> None:
    """Amazon's ETag of such an object is no MD5, so it must be read back."""
    config = moto_s3.config(prefix="options/kms", server_side_encryption="aws:kms")
    store = open_store("s3", config, {"etag_md5": True})
    assert PutCall(store, KEY)(BytesSource(pattern(LARGE))).verified_by == "read_back"
    seen = store.stat(KEY)
    assert seen is not None
    assert seen.checksum == ""


def test_customer_key_goes_with_every_request_that_needs_it(
    tls_s3: tuple[S3Server, Path],
) -> None:
    server, certificate = tls_s3
    config = server.config(
        endpoint_url=f"https://localhost:{server.port}",
        ca_bundle=str(certificate),
        server_side_encryption="customer",
        customer_key=CUSTOMER_KEY,
    )
    store = open_store("s3", config)
    source = BytesSource(pattern(LARGE))
    asked: list[str] = []
    store._bucket.client.meta.events.register(  # type: ignore[attr-defined]
        "before-send.s3",
        lambda request, **_: asked.append(
            f"{request.method} {'x-amz-server-side-encryption-customer-key' in request.headers}"
        ),
    )
    PutCall(store, KEY)(source)
    assert digest_of(store, KEY) == source.sha256
    assert {line for line in asked if line.endswith("False")} == set()
    assert store.presign(KEY, filename="x", expires_seconds=60) is None
    assert not store.probe().presigned_url


@pytest.fixture(scope="module")
def tls_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Server, Path]]:
    """An rclone server with a certificate that nobody knows, and that certificate."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
            *["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            *["-keyout", str(key), "-out", str(certificate)],
        ],
        check=True,
        capture_output=True,
    )
    server = S3Server(free_port(), "backups", "holdfast-tests", "not-a-secret-of-anybody")
    (directory / "root" / server.bucket).mkdir(parents=True)
    daemon = Daemon(
        [
            *[rclone_binary(), "serve", "s3", "--addr", f"127.0.0.1:{server.port}"],
            *["--config", str(directory / "rclone.conf")],
            *["--cert", str(certificate), "--key", str(key), str(directory / "root")],
        ],
        log=directory / "log",
        environment={"RCLONE_AUTH_KEY": f'"{server.access_key_id},{server.secret_access_key}"'},
    )
    daemon.start(lambda: accepts(server.port))
    try:
        yield server, certificate
    finally:
        daemon.kill()


@pytest.mark.parametrize("how", ["ca_bundle", "ca_pem"])
def test_own_authority_is_trusted_when_it_is_given(tls_s3: tuple[S3Server, Path], how: str) -> None:
    server, certificate = tls_s3
    trust = {"ca_bundle": str(certificate), "ca_pem": certificate.read_text()}[how]
    config = server.config(endpoint_url=f"https://localhost:{server.port}", **{how: trust})
    store = open_store("s3", config)
    source = BytesSource(pattern(LARGE))
    assert PutCall(store, KEY)(source).verified_by == "md5_parts"
    assert digest_of(store, KEY) == source.sha256
    assert store.probe().presigned_url


def test_certificate_is_named_when_nobody_vouches_for_it(tls_s3: tuple[S3Server, Path]) -> None:
    server, _ = tls_s3
    config = server.config(endpoint_url=f"https://localhost:{server.port}", max_attempts=1)
    with pytest.raises(EngineError) as caught:
        open_store("s3", config).stat(KEY)
    assert (caught.value.code, caught.value.permanent) == ("certificate", True)


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"endpoint_url": "https://s3.lan:9000"}, "https://s3.lan:9000/backups/pre/node/"),
        (
            {"endpoint_url": "https://s3.lan", "addressing": "virtual"},
            "https://backups.s3.lan/pre/node/",
        ),
        (
            {"endpoint_url": "", "region": "eu-central-1"},
            "https://backups.s3.eu-central-1.amazonaws.com/pre/node/",
        ),
        (
            {"endpoint_url": "", "region": "eu-central-1", "addressing": "path"},
            "https://s3.eu-central-1.amazonaws.com/backups/pre/node/",
        ),
    ],
)
def test_url_has_the_bucket_where_the_addressing_says(changes: dict[str, str], begins: str) -> None:
    server = S3Server(1, "backups", "somebody", "secret-of-theirs")
    store = open_store("s3", server.config(prefix="/pre/", **changes))
    url = store.presign(KEY, filename="x", expires_seconds=10**9)
    assert url is not None
    assert url.startswith(begins)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    assert "X-Amz-Expires=604800" in url
    assert "secret-of-theirs" not in url


@pytest.mark.slow
def test_memory_stays_small_when_the_source_is_large(rclone_s3: S3Server, tmp_path: Path) -> None:
    peaks: list[int] = []
    for size in (1, MEMORY_BYTES):
        path = tmp_path / str(size)
        with path.open("wb") as file:
            file.truncate(size)
        # Parts of the size that an object of 1 TiB needs: they must not be in memory either.
        config = rclone_s3.config(prefix="memory", part_size=100 << 20)
        process = start_put({"kind": "s3", "config": config, "key": KEY, "path": str(path)})
        answer = json.loads(process.communicate(timeout=120)[0])
        assert answer["size"] == size
        peaks.append(answer["rss_kib"])
    open_store("s3", config).delete(KEY)
    assert peaks[1] - peaks[0] < 40 << 10


@pytest.mark.parametrize("is_known", [True, False])
def test_list_goes_on_behind_a_key_even_where_the_service_begins_again(
    is_known: bool, moto_s3: S3Server
) -> None:
    store = open_store("s3", moto_s3.config(prefix="options/after"))
    for key in "abc":
        PutCall(store, key)(BytesSource(b"x"))
    asked: list[str] = []

    def change(params: dict[str, object], **_: object) -> None:
        asked.append(str(params.get("StartAfter") if is_known else params.pop("StartAfter")))

    store._bucket.client.meta.events.register(  # type: ignore[attr-defined]
        "before-parameter-build.s3.ListObjectsV2", change
    )
    assert [found.key for found in store.list(after="a")] == ["b", "c"]
    assert asked == ["options/after/a"]
