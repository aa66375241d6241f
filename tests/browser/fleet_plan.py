"""What a believable fleet looks like: names, sizes, habits and mishaps. Pure, always the same.

`fleet_rows` makes rows of it. Everything is told relative to one moment, now, so that a page that
shows it looks the same whenever it is opened.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

NODE_ADMIN, SITE_ADMIN = "node-admin@example.com", "site-admin@example.com"
PEOPLE_PASSWORD = "a-fine-password-for-people"
MEBIBYTE = 1 << 20
DAYS = 60
# Node: its name, what people call it, its share of the sites.
NODES = (
    ("web-01", "Frankfurt, shared", 24),
    ("web-02", "Frankfurt, shared", 22),
    ("web-03", "Helsinki, shared", 20),
    ("shop-01", "Shops", 16),
    ("shop-02", "Shops, spare", 14),
    ("old-01", "Being moved", 4),
)
DRAINING, OFFLINE = "shop-02", "old-01"
STORAGES = (
    ("offsite", "s3", {"bucket": "backups-eu", "region": "eu-central-1"}),
    ("archive", "s3", {"bucket": "backups-archive", "region": "eu-north-1"}),
    ("basement", "local", {"path": "/srv/backups"}),
)
# fmt: off
FIRST_WORDS = (
    "amber", "birch", "cedar", "copper", "coral", "delta", "ember", "fern", "garnet", "harbour",
    "indigo", "juniper", "kestrel", "lantern", "maple", "meadow", "nordic", "oak", "olive",
    "pebble", "quartz", "river", "saffron", "timber", "velvet", "willow",
)
SECOND_WORDS = (
    "bakery", "books", "cycles", "clinic", "coffee", "design", "dental", "farm", "gallery",
    "hotel", "press", "yoga",
)
# fmt: on
FREQUENCIES = ("daily",) * 15 + ("weekly",) * 3 + ("monthly", "manual")
RUNS_EVERY = {"daily": 1, "weekly": 7, "monthly": 30, "manual": 11}


class Mishap(NamedTuple):
    """How a job fails: in which stage, and what it says, as the engine says it."""

    stage: int
    code: str
    message: str
    hint: str


MISHAPS = (
    Mishap(
        0,
        "credentials_refused",
        "The dump of wp_{word} failed: mariadb-dump: Got error: 1045: Access denied for user "
        "'wp_{word}'@'localhost' (using password: YES) when trying to connect",
        "Check the user, the password and the host that the user may sign in from.",
    ),
    Mishap(
        3,
        "access_denied",
        "Could not store the bundle: access was denied (status 403; AccessDenied: Access Denied).",
        "Allow s3:PutObject, GetObject, DeleteObject, ListBucket, AbortMultipartUpload and "
        "ListMultipartUploadParts for these keys, and the KMS key if there is one.",
    ),
    Mishap(
        1,
        "not_enough_space",
        "There is no room for the files of {site}: about 18432.0 MB are needed, but the disk of "
        "/var/lib/holdfast/spool has 9216.4 MB free",
        "Free some room on the node, or point HOLDFAST_SPOOL_DIRECTORY to a larger disk.",
    ),
    Mishap(
        0,
        "table_damaged",
        "The dump of wp_{word} failed: mariadb-dump: Error 1194: Table 'wp_options' is marked as "
        "crashed and should be repaired",
        "The named table cannot be read: have the server check and repair it, then back up again.",
    ),
    Mishap(
        2,
        "worker_lost",
        "The worker {node}.1@{node} was lost during create_bundle, for the 3rd time",
        "See the worker's log on the node (memory, disk, restarts), then start again.",
    ),
)


class Running(NamedTuple):
    """How far a job is: finished stages, and the share of the one that runs."""

    stages_done: int
    share: float
    minutes: int


RUNNING = (Running(3, 0.62, 9), Running(1, 0.47, 4), Running(2, 0.35, 6), Running(0, 0.8, 1))
WAITING = 2


@dataclass(frozen=True)
class SitePlan:
    """One site: where it is, what it holds, how it is backed up and what goes wrong with it.

    `fate` is `safe`, `failing`, `old`, `never`, `suspect`, `running` or `waiting`.
    """

    number: int
    name: str
    word: str
    node: int
    storage: int
    frequency: str
    last_run: timedelta
    bytes_now: int
    growth_percent: float
    files: int
    fate: str


def plan_sites(number: int, nodes: int) -> list[SitePlan]:
    """Return that many sites on the first of the nodes, and on more like them."""
    chance = random.Random(19)
    names = [f"{first}-{second}" for second in SECOND_WORDS for first in FIRST_WORDS]
    chance.shuffle(names)
    shares = [NODES[index][2] if index < len(NODES) else 10 for index in range(nodes)]
    found = []
    for index in range(number):
        word = names[index % len(names)]
        word = word if index < len(names) else f"{word}-{index // len(names) + 1}"
        place = chance.choices(range(nodes), shares)[0]
        frequency = chance.choice(FREQUENCIES)
        fate = _fate(index, node_name(place))
        found.append(
            SitePlan(
                number=index,
                name=f"{word}.example",
                word=word.replace("-", "_"),
                node=place,
                storage=chance.choices((0, 1, 2), (6, 3, 1))[0],
                frequency="daily" if fate != "safe" else frequency,
                last_run=_last_run(chance, frequency if fate == "safe" else "daily", fate),
                bytes_now=_size(chance, fate),
                growth_percent=chance.uniform(-0.1, 1.6),
                files=chance.randrange(2_000, 40_000),
                fate=fate,
            )
        )
    return found


def node_name(place: int) -> str:
    """Return the name of the node at that place; beyond those that are known, another one."""
    return NODES[place][0] if place < len(NODES) else f"web-{place + 1:02}"


def _fate(index: int, node: str) -> str:
    if node == OFFLINE:
        return "old"
    if index < len(RUNNING):
        return "running"
    if index < len(RUNNING) + WAITING:
        return "waiting"
    fates = {9: "failing", 48: "never", 27: "suspect", 63: "old"}
    return fates.get(index % 65, "safe")


def _size(chance: random.Random, fate: str) -> int:
    size = int((20 + min(9000, chance.lognormvariate(6, 1.2))) * MEBIBYTE)
    # Large enough that a minute of looking at a running one changes little.
    return size % (2000 * MEBIBYTE) + 6000 * MEBIBYTE if fate in ("running", "waiting") else size


def _last_run(chance: random.Random, frequency: str, fate: str) -> timedelta:
    night = timedelta(minutes=chance.randrange(20, 600), seconds=chance.randrange(60))
    if fate == "old":
        return timedelta(days=3) + night
    # Never quite at the end of its time, where the next run would be due.
    days = chance.randrange(max(1, RUNS_EVERY[frequency] - 1))
    return timedelta(days=days) + night


def restored_site(plans: Sequence[SitePlan]) -> SitePlan:
    """Return the site that was restored a moment ago: a large safe one that is backed up daily."""
    return next(
        plan
        for plan in plans
        if plan.fate == "safe" and plan.frequency == "daily" and plan.bytes_now > 500 * MEBIBYTE
    )


def size_on(plan: SitePlan, days_ago: float, chance: random.Random) -> int:
    """Return how large the site's bundle was then: it grows, and wavers a little."""
    grown = (1 + plan.growth_percent / 100) ** -days_ago
    return int(plan.bytes_now * grown * chance.uniform(0.985, 1.015))


def seconds_for(size: int, chance: random.Random) -> float:
    """Return how long a bundle of that size takes."""
    return 12 + size / (38 * MEBIBYTE) * chance.uniform(0.85, 1.3)


def mishap_of(plan: SitePlan, turn: int) -> Mishap:
    """Return what goes wrong with the site's job; a site that fails now fails in one way."""
    return MISHAPS[(plan.number // 65 if plan.fate == "failing" else turn) % len(MISHAPS)]


def said(text: str, plan: SitePlan) -> str:
    """Return the text with the site's own names in it."""
    return text.format(site=plan.name, word=plan.word, node=node_name(plan.node))


def endings(plan: SitePlan, runs: int, chance: random.Random) -> Sequence[str]:
    """Return how the site's runs ended, the newest first."""
    failed_now = 3 if plan.fate == "failing" else 0
    old = ["failed" if chance.random() < 0.012 else "completed" for _ in range(runs)]
    old = ["stopped" if chance.random() < 0.002 else one for one in old]
    # Whoever is not meant to fail has a newest one that is good.
    return ["failed"] * failed_now + ["completed"] + old[failed_now + 1 :]
