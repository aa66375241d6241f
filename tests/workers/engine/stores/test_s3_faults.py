"""An S3 service and a network that fail, and what is left, sent again and said then."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.store_sources import (
    BytesSource,
    InterruptingReporter,
    PutCall,
    digest_of,
    pattern,
    start_put,
)
from tests.servers import free_port, wait_until
from tests.servers.faults import (
    FaultProxy,
    corrupted,
    corrupted_and_denied,
    error_in_200,
    hang,
    lose_answer,
    reset,
    reset_midway,
    status,
    truncate,
)
from tests.servers.moto import S3Server
from workers.engine.errors import EngineError, Fenced, StopRequested
from workers.engine.progress import SilentReporter
from workers.engine.stores import open_store
from workers.engine.stores.base import Store

PART = 5 << 20
PARTS = 4
SIZE = (PARTS - 1) * PART + 1000
KEY = "node/site/site.tar.zst"


class Behind:
    """A service behind the proxy of one test, below a prefix of its own."""

    def __init__(self, server: S3Server, proxy: FaultProxy, prefix: str) -> None:
        self.server = server
        self.proxy = proxy
        self.prefix = prefix
        self.source = BytesSource(pattern(SIZE))

    def config(self, **changes: Any) -> dict[str, Any]:
        return self.server.at(self.proxy.port).config(prefix=self.prefix, **changes)

    def store(self, **changes: Any) -> Store:
        return open_store("s3", self.config(**changes))

    def put(self, **changes: Any) -> PutCall:
        return PutCall(self.store(**changes), KEY)

    def uploads(self) -> list[str]:
        return self.server.uploads(self.prefix)

    def assert_stored(self) -> None:
        direct = open_store("s3", self.server.config(prefix=self.prefix))
        assert digest_of(direct, KEY) == self.source.sha256
        assert self.uploads() == []


@pytest.fixture(params=["rclone_s3", "moto_s3"])
def behind(
    request: pytest.FixtureRequest, fault_proxy: Callable[..., FaultProxy], tmp_path: Path
) -> Behind:
    server: S3Server = request.getfixturevalue(request.param)
    return Behind(server, fault_proxy(server.port), f"faults/{tmp_path.name}")


@pytest.fixture
def behind_rclone(
    rclone_s3: S3Server, fault_proxy: Callable[..., FaultProxy], tmp_path: Path
) -> Behind:
    return Behind(rclone_s3, fault_proxy(rclone_s3.port), f"faults/{tmp_path.name}")


@pytest.fixture
def behind_moto(
    moto_s3: S3Server, fault_proxy: Callable[..., FaultProxy], tmp_path: Path
) -> Behind:
    return Behind(moto_s3, fault_proxy(moto_s3.port), f"faults/{tmp_path.name}")


@pytest.mark.slow
def test_finished_parts_are_not_sent_again_when_the_process_was_killed(
    behind: Behind, tmp_path: Path
) -> None:
    path, checkpoint = tmp_path / "source", tmp_path / "checkpoint"
    path.write_bytes(behind.source.data)
    behind.proxy.fail(lambda seen: seen.part > 2, hang, times=99)
    process = start_put(
        {
            "kind": "s3",
            "config": behind.config(upload_threads=2, read_timeout=60),
            "key": KEY,
            "path": str(path),
            "checkpoint": str(checkpoint),
        }
    )
    wait_until(lambda: sorted(behind.proxy.sent_parts()) == [1, 2], message="two parts arrived")
    wait_until(lambda: any(seen.part > 2 for seen in behind.proxy.requests))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(behind.uploads()) == 1

    again = FaultProxy(behind.server.port)
    behind.proxy, crashed = again, behind.proxy
    call = behind.put()
    call.resume = json.loads(checkpoint.read_text())
    try:
        call(behind.source)
    finally:
        crashed.close()
        again.close()

    assert sorted(again.sent_parts()) == [3, 4]
    assert call.checkpoints == []
    assert call.reporter.bytes_done == SIZE
    behind.assert_stored()


def test_part_is_sent_again_when_what_is_stored_is_not_of_the_source(
    behind_moto: Behind,
) -> None:
    """Not with rclone's server, where sending a part twice ends the upload."""
    behind = behind_moto
    fenced = behind.put()
    fenced.reporter = InterruptingReporter(Fenced, after=2 * PART + 1)
    with pytest.raises(Fenced):
        fenced(behind.source)
    checkpoint = fenced.checkpoints[-1]
    behind.server.client().upload_part(
        Bucket=behind.server.bucket,
        Key=f"{behind.prefix}/{KEY}",
        UploadId=checkpoint["upload_id"],
        PartNumber=1,
        Body=pattern(PART, seed=9),
    )
    behind.proxy.requests.clear()
    again = behind.put()
    again.resume = checkpoint
    again(behind.source)
    assert 1 in behind.proxy.sent_parts()
    assert len(behind.proxy.sent_parts()) < PARTS
    behind.assert_stored()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(503, "SlowDown", "Reduce your request rate."),
        reset,
        reset_midway,
        lose_answer,
    ],
    ids=["500", "503", "reset", "reset-midway", "lost-answer"],
)
def test_put_succeeds_when_parts_fail_at_first(behind: Behind, fault: Any) -> None:
    for number in (1, PARTS):
        behind.proxy.fail(lambda seen, number=number: seen.part == number, fault)
    call = behind.put()
    found = call(behind.source)
    assert found.verified_by == "md5_parts"
    assert call.reporter.bytes_done == SIZE
    tried = [seen.part for seen in behind.proxy.requests if seen.part]
    assert tried.count(1) == 2
    behind.assert_stored()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [status(500), status(503), reset, lose_answer, error_in_200],
    ids=["500", "503", "reset", "lost-answer", "error-in-200"],
)
def test_put_succeeds_when_completing_fails_at_first(behind: Behind, fault: Any) -> None:
    behind.proxy.fail(lambda seen: seen.completes, fault)
    call = behind.put()
    assert call(behind.source).verified_by == "md5_parts"
    assert sorted(behind.proxy.sent_parts()) == list(range(1, PARTS + 1))
    behind.assert_stored()


@pytest.mark.slow
def test_put_fails_for_now_and_resumes_when_the_service_only_fails(behind: Behind) -> None:
    behind.proxy.fail(lambda seen: seen.part == 3, status(503, "SlowDown"), times=2)
    call = behind.put(max_attempts=2, upload_threads=1)
    with pytest.raises(EngineError) as caught:
        call(behind.source)
    assert (caught.value.code, caught.value.permanent) == ("storage_busy", False)
    assert len(behind.uploads()) == 1
    behind.proxy.requests.clear()
    again = behind.put()
    again.resume = call.checkpoints[-1]
    again(behind.source)
    assert sorted(behind.proxy.sent_parts()) == [3, 4]
    behind.assert_stored()


def test_put_fails_for_now_when_the_answer_takes_too_long(behind_rclone: Behind) -> None:
    behind_rclone.proxy.fail(lambda seen: seen.part == 2, hang, times=9)
    with pytest.raises(EngineError) as caught:
        behind_rclone.put(read_timeout=1, max_attempts=1)(behind_rclone.source)
    assert (caught.value.code, caught.value.permanent) == ("storage_unreachable", False)
    assert "too long" in caught.value.message


def test_put_begins_again_when_its_upload_was_aborted(behind: Behind) -> None:
    fenced = behind.put()
    fenced.reporter = InterruptingReporter(Fenced, after=PART + 1)
    with pytest.raises(Fenced):
        fenced(behind.source)
    behind.store().abandon(KEY, fenced.checkpoints[-1])
    again = behind.put()
    again.resume = fenced.checkpoints[-1]
    again(behind.source)
    assert len(again.checkpoints) == 1
    behind.assert_stored()


@pytest.mark.slow
def test_both_finish_when_another_process_completes_the_shared_upload(
    behind_rclone: Behind,
) -> None:
    behind = behind_rclone
    slow = behind.put(read_timeout=60, upload_threads=1)
    behind.proxy.fail(lambda seen: seen.part == 3, _until_released, times=1)
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(slow(behind.source)))
    thread.start()
    wait_until(lambda: any(seen.part == 3 for seen in behind.proxy.requests))
    quick = behind.put()
    quick.resume = slow.checkpoints[-1]
    quick(behind.source)
    behind.proxy.released.set()
    thread.join(30)
    assert outcome[0].verified_by == "md5_parts"
    assert slow.reporter.bytes_done == SIZE
    behind.assert_stored()


def _until_released(handler: Any, seen: Any) -> None:
    handler.proxy.released.wait(60)
    handler.answer(seen, *handler.forward(seen))


@pytest.mark.parametrize("what", ["part", "complete", "create", "small"])
def test_stop_ends_the_work_when_a_request_hangs(behind_rclone: Behind, what: str) -> None:
    behind = behind_rclone
    matches = {
        "part": lambda seen: seen.part == 2,
        "complete": lambda seen: seen.completes,
        "create": lambda seen: seen.method == "POST" and "uploads" in seen.query,
        "small": lambda seen: seen.method == "PUT",
    }[what]
    behind.proxy.fail(matches, hang, times=9)

    class Stopping(SilentReporter):
        def check(self) -> None:
            if any(matches(seen) for seen in behind.proxy.requests):
                raise StopRequested

    call = behind.put(read_timeout=900)
    call.reporter = Stopping()
    source = BytesSource(pattern(100)) if what == "small" else behind.source
    with pytest.raises(StopRequested):
        call(source)
    assert behind.uploads() == []
    assert behind.store().stat(KEY) is None


def test_stop_is_said_to_be_incomplete_when_nothing_can_be_removed(behind_rclone: Behind) -> None:
    behind = behind_rclone
    behind.proxy.fail(lambda seen: seen.method == "DELETE", status(500), times=9)
    call = behind.put(max_attempts=1)
    call.reporter = InterruptingReporter(StopRequested, after=PART + 1)
    with pytest.raises(StopRequested):
        call(behind.source)
    assert any("could not be removed" in warning for warning in call.reporter.warnings)
    behind.proxy.heal()
    call.store.abandon(KEY, call.checkpoints[-1])
    assert behind.uploads() == []


def test_nothing_more_is_asked_when_fenced(behind_rclone: Behind) -> None:
    call = behind_rclone.put()
    call.reporter = InterruptingReporter(Fenced, after=PART + 1)
    with pytest.raises(Fenced):
        call(behind_rclone.source)
    methods = {seen.method for seen in behind_rclone.proxy.requests}
    assert "DELETE" not in methods
    assert not any(seen.completes for seen in behind_rclone.proxy.requests)
    assert len(behind_rclone.uploads()) == 1


@pytest.mark.parametrize("fault", [corrupted, corrupted_and_denied])
@pytest.mark.parametrize("size", [1000, SIZE])
def test_put_fails_and_leaves_nothing_when_the_service_takes_damaged_bytes(
    behind_moto: Behind, size: int, fault: Any
) -> None:
    """Moto looks at no Content-MD5."""
    behind_moto.proxy.fail(lambda seen: seen.method == "PUT", fault, times=99)
    with pytest.raises(EngineError) as caught:
        behind_moto.put()(BytesSource(pattern(size)))
    # Where the answers are wrong as well, the parts' ETags do not fit when put together.
    expected = "upload_lost" if size == SIZE and fault is corrupted_and_denied else None
    assert caught.value.code == (expected or "verification_failed")
    assert not caught.value.permanent
    assert behind_moto.store().stat(KEY) is None


def test_part_alone_is_sent_again_when_it_is_refused_at_the_end(behind_moto: Behind) -> None:
    behind_moto.proxy.fail(lambda seen: seen.part == 2, corrupted_and_denied)
    assert behind_moto.put()(behind_moto.source).verified_by == "md5_parts"
    assert sorted(behind_moto.proxy.sent_parts()) == [1, 2, 2, 3, 4]
    behind_moto.assert_stored()


def test_damage_is_reported_when_the_service_refuses_the_md5(behind_rclone: Behind) -> None:
    """Rclone compares the Content-MD5."""
    behind_rclone.proxy.fail(lambda seen: seen.part == 2, corrupted, times=9)
    with pytest.raises(EngineError) as caught:
        behind_rclone.put()(behind_rclone.source)
    assert (caught.value.code, caught.value.permanent) == ("damaged_on_the_way", False)


@pytest.mark.parametrize("fault", [status(503), reset, truncate], ids=["503", "reset", "truncate"])
def test_reading_goes_on_when_it_breaks_off(behind: Behind, fault: Any) -> None:
    behind.put()(behind.source)
    behind.proxy.fail(lambda seen: seen.method == "GET" and not seen.query, fault, times=2)
    opened = behind.store().open(KEY)
    assert (
        opened.read_at(PART - 5, 3 * PART // 2) == behind.source.data[PART - 5 :][: 3 * PART // 2]
    )


def test_reading_fails_for_good_when_the_object_was_replaced(behind: Behind) -> None:
    behind.put()(BytesSource(pattern(SIZE)))
    opened = behind.store().open(KEY)
    opened.read_at(0, 10)
    behind.put()(BytesSource(pattern(SIZE, seed=2)))
    with pytest.raises(EngineError) as caught:
        opened.read_at(0, 10)
    assert (caught.value.code, caught.value.permanent) == ("object_changed", True)


def test_reading_fails_for_good_when_the_range_is_ignored(behind: Behind) -> None:
    behind.put()(behind.source)

    def whole(handler: Any, seen: Any) -> None:
        seen.headers.pop("range")
        # The range is part of the signature, so the whole object comes by another way.
        data = behind.source.data
        etag = f'"{opened._etag}"'  # type: ignore[attr-defined]
        handler.answer(seen, 200, {"etag": etag}, data)

    opened = behind.store().open(KEY)
    behind.proxy.fail(lambda seen: "range" in seen.headers, whole, times=9)
    with pytest.raises(EngineError) as caught:
        opened.read_at(5, 10)
    assert (caught.value.code, caught.value.permanent) == ("range_ignored", True)


@pytest.mark.slow
def test_delete_fails_when_the_object_stays(behind_rclone: Behind) -> None:
    behind_rclone.put()(BytesSource(b"x"))
    behind_rclone.proxy.fail(
        lambda seen: seen.method == "DELETE",
        lambda handler, seen: handler.answer(seen, 204, {}, b""),
        times=9,
    )
    with pytest.raises(EngineError) as caught:
        behind_rclone.store().delete(KEY)
    assert (caught.value.code, caught.value.permanent) == ("not_deleted", False)


def test_put_waits_when_the_object_is_not_visible_at_once(behind_rclone: Behind) -> None:
    behind_rclone.proxy.fail(lambda seen: seen.method == "HEAD", status(404), times=1)
    assert behind_rclone.put()(behind_rclone.source).size == SIZE


def test_damage_is_found_when_it_is_read_back(behind_rclone: Behind) -> None:
    """The bytes come back with one bit flipped."""

    def flipped(handler: Any, seen: Any) -> None:
        code, headers, body = handler.forward(seen)
        handler.answer(seen, code, headers, bytes([body[0] ^ 1]) + body[1:])

    behind = behind_rclone
    behind.proxy.fail(lambda seen: "range" in seen.headers, flipped, times=99)
    store = open_store("s3", behind.config(), {"etag_md5": False})
    with pytest.raises(EngineError) as caught:
        PutCall(store, KEY)(behind.source)
    assert (caught.value.code, caught.value.permanent) == ("verification_failed", False)
    assert store.stat(KEY) is None


def test_object_stays_when_what_seems_damaged_is_another_attempts_by_now(
    behind_rclone: Behind,
) -> None:
    """Who lost its lease while it read back must not remove what others have proven."""
    behind, size = behind_rclone, 1000
    reporter = InterruptingReporter(Fenced, after=1 << 62)

    def flipped_by_one_that_slept(handler: Any, seen: Any) -> None:
        code, headers, body = handler.forward(seen)
        reporter.after = 0
        handler.answer(seen, code, headers, bytes([body[0] ^ 1]) + body[1:])

    behind.proxy.fail(lambda seen: "range" in seen.headers, flipped_by_one_that_slept, times=99)
    store = open_store("s3", behind.config(), {"etag_md5": False})
    with pytest.raises(Fenced):
        PutCall(store, KEY, reporter=reporter)(BytesSource(pattern(size)))
    assert store.stat(KEY) is not None


SECRET = "Sup3rS3cr3tAccessKey+/="
TOKEN = "t0ken-of-a-session"


@pytest.mark.parametrize(
    ("code", "answer", "expected", "permanent"),
    [
        (404, "NoSuchBucket", "bucket_missing", True),
        (403, "AccessDenied", "access_denied", True),
        (403, "SignatureDoesNotMatch", "bad_credentials", True),
        (403, "InvalidAccessKeyId", "bad_credentials", True),
        (400, "ExpiredToken", "credentials_expired", True),
        (403, "RequestTimeTooSkewed", "clock_skew", True),
        (403, "QuotaExceeded", "no_room", True),
        (507, "XMinioStorageFull", "no_room", True),
        (400, "EntityTooLarge", "object_too_large", True),
        (400, "InvalidStorageClass", "storage_class", True),
        (400, "KMS.DisabledException", "encryption_key", True),
        (400, "AuthorizationHeaderMalformed", "wrong_endpoint", True),
        (400, "SomethingNew", "storage_refused", True),
        (503, "SlowDown", "storage_busy", False),
        (500, "SomethingNew", "storage_busy", False),
        (400, "RequestTimeout", "storage_busy", False),
    ],
)
def test_error_says_what_to_do_and_no_secret_when_the_service_refuses(
    behind_rclone: Behind, code: int, answer: str, expected: str, permanent: bool
) -> None:
    # A service that quotes what it got, secrets included.
    said = f"Your key {SECRET} with {TOKEN} is\n not accepted"
    behind_rclone.proxy.fail(lambda seen: True, status(code, answer, said), times=99)
    call = behind_rclone.put(
        secret_access_key=SECRET, session_token=TOKEN, max_attempts=1, region="eu-west-1"
    )
    with pytest.raises(EngineError) as caught:
        call(behind_rclone.source)
    error = caught.value
    assert (error.code, error.permanent) == (expected, permanent)
    assert error.hint
    chain = f"{error!r} {error.hint} {error.__cause__!r}"
    assert SECRET not in chain
    assert TOKEN not in chain
    assert answer in error.message
    assert "http://" not in chain


def test_error_tells_which_when_credentials_or_bucket_are_wrong(rclone_s3: S3Server) -> None:
    expected = {
        "bad_credentials": {"access_key_id": "somebody-else"},
        "bucket_missing": {"bucket": "no-such-bucket"},
    }
    for code, changes in expected.items():
        store = open_store("s3", rclone_s3.config(**changes))
        for attempt in (
            lambda store=store: PutCall(store, KEY)(BytesSource(b"x")),
            lambda store=store: list(store.list()),
            store.probe,
        ):
            with pytest.raises(EngineError) as caught:
                attempt()
            assert caught.value.permanent
            assert caught.value.code in {code, "access_denied"}


def test_missing_bucket_is_no_missing_object_when_looked_for(rclone_s3: S3Server) -> None:
    store = open_store("s3", rclone_s3.config(bucket="no-such-bucket"))
    for attempt in (lambda: store.stat("x"), lambda: store.delete("x"), lambda: store.open("x")):
        with pytest.raises(EngineError) as caught:
            attempt()
        assert (caught.value.code, caught.value.permanent) == ("bucket_missing", True)


def test_error_is_temporary_when_nobody_listens() -> None:
    store = open_store(
        "s3",
        S3Server(free_port(), "b", "somebody", "secret-of-theirs").config(max_attempts=1),
    )
    with pytest.raises(EngineError) as caught:
        store.stat("x")
    assert (caught.value.code, caught.value.permanent) == ("storage_unreachable", False)


def test_checksum_is_not_believed_when_the_service_takes_wrong_ones(
    moto_s3: S3Server, fault_proxy: Callable[..., FaultProxy]
) -> None:
    """A service that echoes whatever checksum it is sent, as rclone's does for whole objects."""
    proxy = fault_proxy(moto_s3.port)

    def echo(handler: Any, seen: Any) -> None:
        code, headers, body = handler.forward(seen)
        headers["x-amz-checksum-sha256"] = seen.headers["x-amz-checksum-sha256"]
        handler.answer(seen, code, headers, body)

    proxy.fail(lambda seen: "x-amz-checksum-sha256" in seen.headers, echo, times=99)
    seen = open_store("s3", moto_s3.at(proxy.port).config(prefix="echo")).probe()
    assert not seen.checksum_sha256
    assert any("SHA-256" in note for note in seen.notes)


def test_probe_says_so_when_writing_is_denied(behind_rclone: Behind) -> None:
    behind_rclone.proxy.fail(
        lambda seen: seen.method == "PUT", status(403, "AccessDenied", "No."), times=99
    )
    seen = behind_rclone.store().probe()
    assert not any([seen.write, seen.read, seen.delete, seen.multipart, seen.presigned_url])
    assert len(seen.notes) < 3
    assert "access was denied" in seen.notes[0]


def test_probe_says_so_when_deleting_is_denied(behind_rclone: Behind) -> None:
    behind_rclone.proxy.fail(
        lambda seen: seen.method == "DELETE" and "uploadId" not in seen.query,
        status(403, "AccessDenied", "No."),
        times=99,
    )
    seen = behind_rclone.store().probe()
    assert seen.write
    assert not seen.delete
    assert any(note.startswith("Deleting") for note in seen.notes)
    behind_rclone.proxy.close()
