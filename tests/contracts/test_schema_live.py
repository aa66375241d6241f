"""Schemathesis against a running panel: no bug, and no answer that the schema does not know.

Two of its checks cannot hold here and are left out. `positive_data_acceptance`: what fits the
schema may still be refused for what it says, as a path that is none. `negative_data_rejection`: an
empty query parameter is one that was not given, as forms send it. Sign-in is left out, since it is
slow on purpose and locks whoever guesses, and so are streams, which do not end, and what only a
node can answer.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.cluster import Cluster
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow
FILL = """
from django.db.models.functions import Now
from backups.actions import jobs
from backups.models import Backup, FollowUpTask, Job, Node, Site, Storage
from panel.accounts import tokens
from panel.accounts.models import User
config = {{"path": {root!r}}}
storage = Storage.objects.create(name="s", type="local", config=config, is_default=True)
ours = Node.objects.get()
theirs = Node.objects.create(name="web-02", allowed_roots=["/srv"])
people = [
    ("site_admin", User.objects.create_user("site@example.com", "x")),
    ("node_admin", User.objects.create_user("node@example.com", "x", role="node_admin")),
    ("super_admin", User.objects.create_superuser("super@example.com", "x")),
]
for node in (ours, theirs):
    name = f"{{node.name}}.example"
    site = Site.objects.create(name=name, node=node, storage=storage, wp_path=f"/srv/{{name}}")
    job = jobs.start_backup(site=site)
    Job.objects.filter(pk=job.pk).update(state="failed", active_site=None, finished_at=Now())
    Backup.objects.create(site=site, storage=storage, status="SUCCESS", object_key="k/x.tar.zst",
                          size_bytes=1, sha256="0" * 64, created_at=Now())
ours.sites.get().admins.add(people[0][1])
ours.admins.add(people[1][1])
for role, user in people:
    FollowUpTask.objects.create(user=user, title="look", created_at=Now(), updated_at=Now())
    print(role, tokens.issue(user)["access_token"])
"""
# Without a worker these answer 503, as they should.
OF_A_NODE = (
    "daemon/scan|sites/manual|storage/providers/{storage_id}/test|{backup_id}/(contents|tables)"
)
LEFT_OUT = f"auth/(login|logout|register|refresh)$|backup/stream|{OF_A_NODE}"
# What finds most for its time: each case once with everything that can be wrong, for whoever may
# do most; for the others what is drawn at random.
PHASES = {
    "anonymous": ("fuzzing", 5),
    "site_admin": ("fuzzing", 5),
    "node_admin": ("fuzzing", 5),
    "super_admin": ("coverage,fuzzing", 2),
}


@pytest.fixture(scope="module")
def panel(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cluster, dict[str, str]]]:
    directory = tmp_path_factory.mktemp("schema")
    url = f"sqlite:///{directory / 'panel.sqlite3'}"
    settings = {"HOLDFAST_NODE_ANSWER_SECONDS": "1"}
    cluster = Cluster(directory, url, redis_server.url, settings)
    with cluster.warmed_up():
        cluster.set_up(directory)
        said = cluster.manage("shell", "-v0", "-c", FILL.format(root=str(directory))).stdout
        tokens = dict(line.split() for line in said.splitlines() if "_admin " in line)
        cluster.start_panel()
        yield cluster, tokens


@pytest.mark.timeout(400)
@pytest.mark.parametrize("role", PHASES)
def test_every_answer_fits_the_schema(
    role: str, panel: tuple[Cluster, dict[str, str]], tmp_path: Path
) -> None:
    cluster, tokens = panel
    phases, examples = PHASES[role]
    argv = [
        *(str(Path(sys.executable).with_name("st")), "run"),
        f"http://127.0.0.1:{cluster.port}/api/schema/?format=json",
        *(
            "--checks",
            "all",
            "--exclude-checks",
            "negative_data_rejection,positive_data_acceptance",
        ),
        *("--exclude-path-regex", LEFT_OUT, "--phases", phases, "--max-examples", str(examples)),
        *("--seed", "1", "--continue-on-failure", "--no-color"),
    ]
    if role in tokens:
        argv += ["--header", f"Authorization: Bearer {tokens[role]}"]
    # It keeps its database of examples where it runs.
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    summary = re.findall(r"^Test cases:\n +(.*)$", done.stdout, re.MULTILINE)
    print(role, *summary)
    assert summary, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout[-8000:]
