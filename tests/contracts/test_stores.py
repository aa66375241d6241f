"""Every sentence of `stores.base.Store`, held against every kind of store there is."""

from __future__ import annotations

import dataclasses
import datetime
import json
import urllib.request
from collections.abc import Callable, Iterator
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
from workers.engine.errors import EngineError, Fenced, StopRequested
from workers.engine.stores import STORE_KINDS, open_store
from workers.engine.stores.base import Store

PART = 5 << 20
# Two whole parts and a bit of a third.
LARGE = 2 * PART + 12_345
KEY = "node/site/Ünï côdé_20261120_101112.tar.zst"


@dataclasses.dataclass
class Kind:
    """A store under test, and what it is known to do really."""

    kind: str
    config: dict[str, Any]
    capabilities: dict[str, Any]
    verified_by: str
    supports: set[str]
    left_over: Callable[[], list[str]]
    store: Store = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.store = open_store(self.kind, self.config, self.capabilities)

    def put(self, source: BytesSource, key: str = KEY, **changes: Any) -> Any:
        return PutCall(self.store, key, **changes)(source)


def _local(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    root = tmp_path / "storage"
    root.mkdir()
    return Kind(
        "local",
        {"path": str(root)},
        {},
        "read_back",
        set(),
        lambda: [str(path) for path in root.rglob("*") if path.is_file()],
    )


def _s3(
    server: Any, name: str, verified_by: str, supports: set[str], capabilities: dict[str, Any]
) -> Kind:
    prefix = f"tests/{name}"

    def left_over() -> list[str]:
        listed = server.client().list_objects_v2(Bucket=server.bucket, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", [])] + server.uploads(prefix)

    config = server.config(prefix=prefix)
    return Kind("s3", config, capabilities, verified_by, supports, left_over)


COMMON = {"multipart", "list_parts", "etag_md5", "presigned_url"}


def _rclone(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    server = request.getfixturevalue("rclone_s3")
    return _s3(server, tmp_path.name, "md5_parts", COMMON, {})


def _moto(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    server = request.getfixturevalue("moto_s3")
    supports = COMMON | {"conditional_write", "copy_part"}
    return _s3(server, tmp_path.name, "md5_parts", supports, {})


def _checking(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    server = request.getfixturevalue("moto_s3")
    proxy = request.getfixturevalue("fault_proxy")(server.port, checks_sha256=True)
    supports = COMMON | {"conditional_write", "copy_part", "checksum_sha256"}
    seen = {"checksum_sha256": True, "etag_md5": True}
    return _s3(server.at(proxy.port), tmp_path.name, "sha256", supports, seen)


def _no_etags(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    """A store whose ETags are not to be believed: nothing is left but reading back."""
    server = request.getfixturevalue("rclone_s3")
    return _s3(server, tmp_path.name, "read_back", COMMON, {"etag_md5": False})


KINDS = {
    "local": _local,
    "s3-rclone": _rclone,
    "s3-moto": _moto,
    "s3-checksums": _checking,
    "s3-read-back": _no_etags,
}

BAD_KEYS = [
    *["", "/etc/x", "../x", "a/../../x", "a//b", "a/./b", "a/", "a\0b", "a\nb", "x" * 224],
    *["a/.holdfast-x", "\ud800", "/".join(["x" * 100] * 11)],
]


# Reading back differs in nothing but the proof, which has tests of its own.
COMMON_KINDS = [name for name in KINDS if name != "s3-read-back"]


@pytest.fixture(params=COMMON_KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    yield KINDS[request.param](request, tmp_path)


def test_every_kind_is_under_contract_when_the_registry_grows() -> None:
    assert {name.partition("-")[0] for name in KINDS} == set(STORE_KINDS)


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, LARGE])
def test_object_is_the_source_when_put_returns(kind: Kind, size: int) -> None:
    source = BytesSource(pattern(size))
    before = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(seconds=2)

    found = kind.put(source, metadata={"job-id": "7", "site": "Café & <more> 100%"})

    assert (found.key, found.size, found.verified_by) == (KEY, size, kind.verified_by)
    assert found.checksum
    assert found.metadata == {
        "job-id": "7",
        "site": "Café & <more> 100%",
        "sha256": source.sha256,
    }
    assert found.modified_at >= before
    seen = kind.store.stat(KEY)
    assert seen is not None
    assert (seen.size, seen.metadata) == (size, found.metadata)
    assert seen.checksum == found.checksum
    assert digest_of(kind.store, KEY) == source.sha256


@pytest.mark.parametrize("kind", ["s3-read-back"], indirect=True)
def test_object_is_read_back_when_nothing_else_proves_it(kind: Kind) -> None:
    for size in (0, 100, LARGE):
        source = BytesSource(pattern(size))
        call = PutCall(kind.store, KEY)
        found = call(source)
        assert (found.verified_by, found.checksum) == ("read_back", f"sha256:{source.sha256}")
        assert call.reporter.details == ["Reading the object back to compare it"]
        assert call.reporter.bytes_done == size


def test_progress_is_the_size_and_from_one_thread_when_put_returns(kind: Kind) -> None:
    class Stricter(InterruptingReporter):
        def check(self) -> None:
            super().check()
            assert len(self.threads) == 1

    reporter = Stricter(StopRequested, after=1 << 60)
    kind.put(BytesSource(pattern(LARGE)), reporter=reporter)
    assert reporter.bytes_done == LARGE


def test_nothing_is_visible_when_the_source_is_still_being_read(kind: Kind) -> None:
    visible: list[bool] = []
    source = BytesSource(pattern(LARGE))
    asked = set()

    def look(offset: int) -> None:
        if offset not in asked and not visible:
            asked.add(offset)
            if offset > LARGE - PART:
                visible.append(kind.store.stat(KEY) is not None)

    source.on_read = look
    kind.put(source)
    assert visible == [False]
    assert kind.store.stat(KEY) is not None


def test_object_is_replaced_when_another_source_is_put(kind: Kind) -> None:
    kind.put(BytesSource(pattern(LARGE)), metadata={"old": "yes"})
    second = BytesSource(pattern(1000, seed=2))
    kind.put(second)
    seen = kind.store.stat(KEY)
    assert seen is not None
    assert seen.metadata == {"sha256": second.sha256}
    assert digest_of(kind.store, KEY) == second.sha256


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "shared"),
    # One upload for two is not for moto, which answers 500 to parts of an upload that is complete.
    [
        ("local", False),
        ("local", True),
        ("s3-rclone", False),
        ("s3-rclone", True),
        ("s3-moto", False),
    ],
    indirect=["kind"],
)
def test_both_succeed_when_two_processes_put_the_same(
    kind: Kind, tmp_path: Path, shared: bool
) -> None:
    source = BytesSource(pattern(LARGE))
    path = tmp_path / "source"
    path.write_bytes(source.data)
    resume = None
    if shared:
        call = PutCall(kind.store, KEY, reporter=InterruptingReporter(Fenced, after=PART))
        with pytest.raises(Fenced):
            call(source)
        resume = dict(call.checkpoints[-1])
    one = {
        "kind": kind.kind,
        "config": kind.config,
        "capabilities": kind.capabilities,
        "key": KEY,
        "path": str(path),
        "resume": resume,
    }

    processes = [start_put(one) for _ in range(2)]
    answers = [process.communicate(timeout=60)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert [json.loads(answer)["size"] for answer in answers] == [LARGE, LARGE]
    assert digest_of(kind.store, KEY) == source.sha256
    seen = kind.store.stat(KEY)
    assert seen is not None
    assert (seen.metadata or {})["sha256"] == source.sha256


@pytest.mark.parametrize("after", [0, 1, PART + 1, LARGE])
def test_nothing_is_left_when_stopped(kind: Kind, after: int) -> None:
    with pytest.raises(StopRequested):
        kind.put(BytesSource(pattern(LARGE)), reporter=InterruptingReporter(StopRequested, after))
    assert kind.store.stat(KEY) is None
    assert kind.left_over() == []


def test_nothing_is_left_when_a_small_one_is_stopped(kind: Kind) -> None:
    with pytest.raises(StopRequested):
        kind.put(BytesSource(pattern(100)), reporter=InterruptingReporter(StopRequested, after=100))
    assert kind.left_over() == []


def test_what_was_sent_stays_and_serves_when_fenced(kind: Kind) -> None:
    source = BytesSource(pattern(LARGE))
    fenced = PutCall(kind.store, KEY, reporter=InterruptingReporter(Fenced, after=PART + 1))
    with pytest.raises(Fenced):
        fenced(source)
    assert kind.store.stat(KEY) is None
    assert len(kind.left_over()) == 1

    again = PutCall(kind.store, KEY, resume=fenced.checkpoints[-1])
    found = again(source)

    assert (found.size, again.reporter.bytes_done) == (LARGE, LARGE)
    assert digest_of(kind.store, KEY) == source.sha256
    assert [name for name in kind.left_over() if name.endswith(".part")] == []


def test_put_succeeds_when_the_checkpoint_is_of_an_attempt_that_had_finished(kind: Kind) -> None:
    source = BytesSource(pattern(LARGE))
    first = PutCall(kind.store, KEY)
    first(source)
    second = PutCall(kind.store, KEY, resume=first.checkpoints[-1])
    found = second(source)
    assert (found.size, second.reporter.bytes_done) == (LARGE, LARGE)
    assert digest_of(kind.store, KEY) == source.sha256


@pytest.mark.parametrize(
    "checkpoint",
    [
        {},
        {"nonsense": 1},
        {"key": KEY, "upload_id": "gone", "part_size": PART, "size": LARGE, "sha256": ""},
        {"key": KEY, "upload_id": 5, "part_size": "x", "size": -1, "sha256": 3},
        {"key": KEY, "temporary": "../../outside.part"},
        {"key": KEY, "temporary": ".holdfast-0000000000000000.part"},
    ],
)
def test_checkpoint_is_ignored_when_it_does_not_hold(
    kind: Kind, checkpoint: dict[str, Any]
) -> None:
    source = BytesSource(pattern(LARGE))
    if "sha256" in checkpoint and checkpoint["sha256"] == "":
        checkpoint = {**checkpoint, "sha256": source.sha256}
    kind.put(source, resume=checkpoint)
    assert digest_of(kind.store, KEY) == source.sha256


def test_nothing_of_the_old_is_used_when_the_source_is_another_one(kind: Kind) -> None:
    first = PutCall(kind.store, KEY, reporter=InterruptingReporter(Fenced, after=PART + 1))
    with pytest.raises(Fenced):
        first(BytesSource(pattern(LARGE)))
    second = BytesSource(pattern(LARGE, seed=2))
    kind.put(second, resume=first.checkpoints[-1])
    assert digest_of(kind.store, KEY) == second.sha256
    kind.store.delete(KEY)
    assert kind.left_over() == []


def test_unfinished_uploads_are_listed_and_can_be_abandoned_without_a_checkpoint(
    kind: Kind,
) -> None:
    assert list(kind.store.list_uploads("")) == []
    for key in (KEY, "other/site/x.tar.zst"):
        fenced = PutCall(kind.store, key, reporter=InterruptingReporter(Fenced, after=PART + 1))
        with pytest.raises(Fenced):
            fenced(BytesSource(pattern(LARGE)))

    found = list(kind.store.list_uploads("node/"))

    if kind.kind == "local":
        assert found == []
        return
    assert [upload.key for upload in found] == [KEY]
    # A test service dates them all to 2010, so only the future is out of the question.
    soon = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(seconds=2)
    assert found[0].begun_at <= soon
    assert len(list(kind.store.list_uploads(""))) == 2
    kind.store.abandon(KEY, found[0].checkpoint)
    assert [upload.key for upload in kind.store.list_uploads("")] == ["other/site/x.tar.zst"]


def test_unfinished_rest_is_removed_when_abandoned(kind: Kind) -> None:
    call = PutCall(kind.store, KEY, reporter=InterruptingReporter(Fenced, after=PART + 1))
    with pytest.raises(Fenced):
        call(BytesSource(pattern(LARGE)))
    kind.store.abandon(KEY, call.checkpoints[-1])
    assert kind.left_over() == []
    kind.store.abandon(KEY, call.checkpoints[-1])
    kind.store.abandon(KEY, {})
    kind.store.abandon(KEY, {"key": KEY, "upload_id": "gone", "temporary": "../x.part"})


@pytest.mark.parametrize("size", [100, LARGE])
def test_put_fails_for_good_when_the_source_is_not_what_was_sealed(kind: Kind, size: int) -> None:
    with pytest.raises(EngineError) as caught:
        kind.put(BytesSource(pattern(size)), sha256="0" * 64)
    assert (caught.value.code, caught.value.permanent) == ("source_changed", True)
    assert caught.value.hint
    assert kind.left_over() == []


def test_none_is_returned_when_there_is_no_object(kind: Kind) -> None:
    assert kind.store.stat("node/none") is None
    assert kind.store.delete("node/none") is False
    with pytest.raises(EngineError) as caught:
        kind.store.open("node/none")
    assert (caught.value.code, caught.value.permanent) == ("object_missing", True)


def test_object_is_gone_when_deleted(kind: Kind) -> None:
    kind.put(BytesSource(pattern(LARGE)))
    assert kind.store.delete(KEY) is True
    assert kind.store.stat(KEY) is None
    assert kind.store.delete(KEY) is False
    assert kind.left_over() == []


def test_exact_bytes_come_when_read_at_any_offset(kind: Kind) -> None:
    source = BytesSource(pattern(LARGE))
    kind.put(source)
    opened = kind.store.open(KEY)
    assert opened.size == LARGE
    for offset, length in [(0, 1), (PART - 3, 7), (LARGE - 4, 100), (LARGE, 5), (LARGE + 9, 1)]:
        assert opened.read_at(offset, length) == source.data[offset : offset + length]
    assert opened.read_at(3, 0) == b""


def test_keys_come_in_their_order_when_listed(kind: Kind) -> None:
    keys = ["a-b", "a.b", "a/b", "a/b-c", "a/c/d/e", "a0", "b", "ä/ö", "\U0001f600"]
    for key in reversed(keys):
        kind.put(BytesSource(key.encode()), key=key)
    assert [found.key for found in kind.store.list()] == sorted(keys, key=str.encode)
    assert [found.key for found in kind.store.list("a/")] == ["a/b", "a/b-c", "a/c/d/e"]
    assert [found.key for found in kind.store.list("a/b")] == ["a/b", "a/b-c"]
    assert [found.key for found in kind.store.list("a/c/d/e")] == ["a/c/d/e"]
    assert list(kind.store.list("none")) == []
    in_order = sorted(keys, key=str.encode)
    for after in ["", *in_order, "a", "a/", "a/bb", "a/c", "a/c/d", "zz", "\U0001f601"]:
        behind = [key for key in in_order if key.encode() > after.encode()]
        assert [found.key for found in kind.store.list(after=after)] == behind
        below = [key for key in behind if key.startswith("a/")]
        assert [found.key for found in kind.store.list("a/", after=after)] == below
    sizes = {found.key: found.size for found in kind.store.list()}
    assert sizes == {key: len(key.encode()) for key in keys}


def test_key_is_refused_when_it_could_lead_astray(kind: Kind) -> None:
    for key in BAD_KEYS:
        attempts: list[Callable[[], object]] = [
            lambda key=key: kind.put(BytesSource(b"x"), key=key),
            lambda key=key: kind.store.stat(key),
            lambda key=key: kind.store.open(key),
            lambda key=key: kind.store.delete(key),
        ]
        for attempt in attempts:
            with pytest.raises(EngineError) as caught:
                attempt()
            assert (caught.value.code, caught.value.permanent) == ("invalid_key", True), key


def test_metadata_is_refused_when_its_names_would_not_survive(kind: Kind) -> None:
    for name in ["job_id", "Job", "", "a b", "ä"]:
        with pytest.raises(EngineError) as caught:
            kind.put(BytesSource(b"x"), metadata={name: "1"})
        assert caught.value.code == "invalid_metadata"


def test_url_downloads_under_its_name_when_presigned(kind: Kind) -> None:
    source = BytesSource(pattern(1000))
    kind.put(source)
    url = kind.store.presign(KEY, filename='sité "1".tar.zst', expires_seconds=60)
    if "presigned_url" not in kind.supports:
        assert url is None
        return
    assert url is not None
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == source.data
        if answer.headers["Content-Disposition"]:
            assert "sit%C3%A9%20%221%22.tar.zst" in answer.headers["Content-Disposition"]


def test_probe_tells_what_is_really_supported_and_leaves_nothing(kind: Kind) -> None:
    seen = kind.store.probe()
    features = dataclasses.asdict(seen)
    for name in ("write", "read", "delete", "range_read"):
        assert features.pop(name) is True, seen.notes
    assert {name for name, value in features.items() if value is True} == kind.supports
    assert all(note.endswith(".") for note in seen.notes)
    assert json.loads(json.dumps(features))
    assert kind.left_over() == []
