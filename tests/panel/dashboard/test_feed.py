"""One look at the database for all who watch."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from backups.actions import jobs
from backups.models import Node, Site, Storage
from backups.queries.watched import watched_statuses
from panel.dashboard import feed as feeds
from panel.dashboard.feed import Snapshot

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
        with django_assert_num_queries(3):
            statuses = watched_statuses(keys)
        assert statuses.keys() == set(keys)
        for site, job in zip(sites[:number], started, strict=False):
            assert statuses[site.pk] == statuses[job.pk]
            assert statuses[site.pk]["site_id"] == site.pk


def test_what_does_not_exist_is_left_out(sites: list[Site]) -> None:
    assert watched_statuses([sites[0].pk, 10**9]).keys() == {sites[0].pk}


def test_database_is_asked_once_a_round_however_many_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[Any]] = []
    viewers = 200

    def counted(keys: list[Any]) -> dict[Any, Snapshot]:
        asked.append(sorted(keys))
        return {key: Snapshot(f"{len(asked)}", "{}", is_last=False) for key in keys}

    async def watch(feed: feeds.Feed, key: int) -> str:
        async with feed.watch(key) as channel:
            await asyncio.wait_for(channel.changed.wait(), 10)
            assert channel.snapshot is not None
            return channel.snapshot.event_id

    async def watch_all() -> list[str]:
        feed = feeds.Feed()
        return await asyncio.gather(*(watch(feed, n % 2) for n in range(viewers)))

    monkeypatch.setattr(feeds, "take_snapshots", counted)
    monkeypatch.setattr(feeds, "POLL_SECONDS", 0.3)
    told = asyncio.run(watch_all())
    assert len(told) == viewers
    # Each opening may look once; then there is one look, for both keys together.
    assert asked[-1] == [0, 1]
    assert asked.count([0, 1]) == 1
