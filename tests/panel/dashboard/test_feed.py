"""One look at the database for all who watch."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries
from rest_framework.renderers import JSONRenderer

from backups.actions import jobs
from backups.api.serializers.jobs import StatusBody
from backups.models import Job, Node, Site, Storage
from backups.queries.watched import watched_statuses
from panel.accounts.models import User
from panel.accounts.stream_access import StreamRight
from panel.dashboard import feed as feeds
from panel.dashboard.rights import Viewer
from panel.dashboard.snapshots import Snapshot, made, take_snapshots

SITES = 30


@pytest.fixture
def sites(db: None) -> list[Site]:
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    storage = Storage.objects.create(name="s", type="local", config={"path": "/srv"})
    return [
        Site.objects.create(name=f"s{n}", node=node, storage=storage, wp_path=f"/srv/{n}")
        for n in range(SITES)
    ]


def test_number_of_queries_stays_when_many_are_watched(
    sites: list[Site], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    started = [jobs.start_backup(site=site) for site in sites]
    for number in (1, SITES):
        keys: list[Any] = [site.pk for site in sites[:number]]
        keys += [job.pk for job in started[:number]]
        # Sites, jobs, nodes, stages.
        with django_assert_num_queries(4):
            statuses = watched_statuses(keys)
        assert statuses.keys() == set(keys)
        for site, job in zip(sites[:number], started, strict=False):
            assert statuses[site.pk] == statuses[job.pk]
            assert statuses[site.pk]["site_id"] == site.pk


def test_what_does_not_exist_is_left_out(sites: list[Site]) -> None:
    assert watched_statuses([sites[0].pk, 10**9]).keys() == {sites[0].pk}


def _viewer(number: int) -> Viewer:
    return Viewer(StreamRight(User(pk=number), None, ""), number)


def _snapshot(text: str) -> Snapshot:
    return made(text, "{}", is_last=False)


def test_database_is_asked_once_a_round_however_many_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[Any]] = []
    viewers = 200

    def counted(keys: list[Any]) -> dict[Any, Snapshot]:
        asked.append(sorted(keys))
        return {key: _snapshot(f"{len(asked)}") for key in keys}

    async def watch(feed: feeds.Feed, number: int) -> Snapshot | None:
        async with feed.watch(number % 2, _viewer(number), _snapshot("")) as seat:
            await asyncio.wait_for(seat.channel.changed.wait(), 10)
            return seat.channel.snapshot

    async def watch_all() -> list[Snapshot | None]:
        feed = feeds.Feed()
        return await asyncio.gather(*(watch(feed, number) for number in range(viewers)))

    monkeypatch.setattr(feeds, "take_snapshots", counted)
    monkeypatch.setattr(feeds, "POLL_SECONDS", 0.1)
    assert asyncio.run(watch_all()) == [_snapshot("1")] * viewers
    assert asked == [[0, 1]]


def test_who_comes_soon_after_the_last_has_left_hears_of_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By then the looks at what changes have ended, and those at rights have not."""

    async def watch(feed: feeds.Feed) -> None:
        async with feed.watch(1, _viewer(1), _snapshot("")) as seat:
            await asyncio.wait_for(seat.channel.changed.wait(), 10)

    async def watch_twice() -> None:
        feed = feeds.Feed()
        await watch(feed)
        while not feed._tasks["look"].done():
            await asyncio.sleep(0.01)
        assert not feed._tasks["check"].done()
        await watch(feed)

    monkeypatch.setattr(feeds, "take_snapshots", lambda keys: dict.fromkeys(keys, _snapshot("1")))
    monkeypatch.setattr(feeds, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(feeds, "CHECK_SECONDS", 0.5)
    asyncio.run(watch_twice())


def test_who_lost_the_right_is_woken_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look for all viewers, of whom two sit before the same thing."""
    asked: list[set[Viewer]] = []

    def checked(viewers: set[Viewer]) -> set[Viewer]:
        asked.append(viewers)
        return viewers - {_viewer(1)}

    async def watch(feed: feeds.Feed, number: int) -> bool:
        async with feed.watch(7, _viewer(number), _snapshot("")) as seat:
            await asyncio.wait_for(seat.channel.changed.wait(), 10)
            return seat.is_lost

    async def watch_all() -> list[bool]:
        feed = feeds.Feed()
        return await asyncio.gather(*(watch(feed, number) for number in range(3)))

    monkeypatch.setattr(feeds, "take_snapshots", lambda keys: dict.fromkeys(keys, _snapshot("")))
    monkeypatch.setattr(feeds, "still_allowed", checked)
    monkeypatch.setattr(feeds, "CHECK_SECONDS", 0.1)
    assert asyncio.run(watch_all()) == [False, True, False]
    assert asked == [{_viewer(number) for number in range(3)}]


def test_who_comes_after_the_last_has_gone_is_told_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look has ended by then, while the check of rights still sleeps."""

    async def watch(feed: feeds.Feed) -> Snapshot | None:
        async with feed.watch(7, _viewer(1), _snapshot("")) as seat:
            await asyncio.wait_for(seat.channel.changed.wait(), 10)
            return seat.channel.snapshot

    async def watch_twice() -> list[Snapshot | None]:
        feed = feeds.Feed()
        first = await watch(feed)
        await asyncio.wait_for(feed._tasks["look"], 10)
        assert not feed._tasks["check"].done()
        return [first, await watch(feed)]

    said = map(_snapshot, map(str, itertools.count(1)))
    monkeypatch.setattr(feeds, "take_snapshots", lambda keys: dict.fromkeys(keys, next(said)))
    monkeypatch.setattr(feeds, "POLL_SECONDS", 0.05)
    assert asyncio.run(watch_twice()) == [_snapshot("1"), _snapshot("2")]


def test_last_that_was_known_is_shown_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([OperationalError("gone away"), OperationalError("gone away"), "back"])

    def take(keys: list[Any]) -> dict[Any, Snapshot]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return dict.fromkeys(keys, _snapshot(answer))

    async def watch() -> Snapshot | None:
        async with feeds.Feed().watch(7, _viewer(1), _snapshot("")) as seat:
            await asyncio.wait_for(seat.channel.changed.wait(), 10)
            return seat.channel.snapshot

    monkeypatch.setattr(feeds, "take_snapshots", take)
    monkeypatch.setattr(feeds, "POLL_SECONDS", 0.05)
    assert asyncio.run(watch()) == _snapshot("back")


def test_what_is_sent_is_what_the_api_would_say(sites: list[Site]) -> None:
    """Its text is made without the serializer, which takes far longer."""
    job = jobs.start_backup(site=sites[0])
    Job.objects.filter(pk=job.pk).update(
        state="failed", started_at=Now(), finished_at=Now(), progress=40, error_message="Full – ü"
    )
    statuses = watched_statuses([sites[0].pk, sites[1].pk, job.pk])
    for key, snapshot in take_snapshots(statuses.keys()).items():
        assert json.loads(snapshot.data) == json.loads(
            JSONRenderer().render(StatusBody(statuses[key]).data)
        )
        assert snapshot.event.decode().splitlines()[2] == f"data: {snapshot.data}"


def test_time_left_is_no_news(sites: list[Site]) -> None:
    job = jobs.start_backup(site=sites[0])
    Job.objects.filter(pk=job.pk).update(state="running", started_at=Now(), progress=1)
    before = take_snapshots([job.pk])[job.pk]
    after = before
    while after.data == before.data:
        after = take_snapshots([job.pk])[job.pk]
    assert after.event_id == before.event_id
