"""What the Compose files say, without running them: the schema, and rules of our own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.composition import Composition, MissingVariableError, interpolate, seconds

ROOT = Path(__file__).resolve().parents[2]
PANEL, NODE = ROOT / "docker-compose.yml", ROOT / "docker-compose.node.yml"
OPEN = ROOT / "deploy/compose.open.yml"
VARIABLES = {
    "SITES": "/srv/www",
    "PANEL_URL": "https://backups.example.com",
    "CLUSTER_ADDRESS": "10.0.0.1",
}
COMPOSITIONS = {
    "panel": Composition.load(PANEL, variables=VARIABLES),
    "node": Composition.load(NODE, variables=VARIABLES),
    "open": Composition.load(PANEL, OPEN, variables=VARIABLES),
}
SERVICES = [
    pytest.param(service, id=f"{name}-{service.name}")
    for name, composition in COMPOSITIONS.items()
    for service in composition.services.values()
]
# Services that end by themselves have nothing to be checked, nor to be started again.
ONCE = ("migrate", "join")


@pytest.mark.parametrize("path", [PANEL, NODE, OPEN], ids=lambda path: path.name)
def test_each_file_follows_the_compose_specification(path: Path) -> None:
    script = Path(sys.executable).with_name("check-jsonschema")
    argv = [str(script), "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_every_image_is_pinned_to_a_patch_version(service) -> None:
    assert re.search(r":\d+\.\d+\.\d+(-[a-z]+)?$", service.raw["image"])
    # Ours is built here, and never fetched from a registry where somebody else may own its name.
    if service.raw["image"].startswith("holdfast:"):
        assert service.raw["pull_policy"] == ("build" if "build" in service.raw else "never")


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_is_in_a_file_or_an_environment(service) -> None:
    for name, value in service.environment.items():
        if re.search("PASSWORD|SECRET|KEYS|TOKEN", name) and not name.endswith("_FILE"):
            raise AssertionError(f"{name} belongs into a file")
        assert not re.search(r"://[^/@]*:[^/@]+@", value), name
        if name.endswith("_FILE") and "/run/secrets/" in value:
            assert value in service.secrets, f"{name} names a secret that is not mounted"


@pytest.mark.parametrize("service", SERVICES)
def test_only_settings_that_are_read_are_set(service) -> None:
    table = (ROOT / "docs/configuration.md").read_text()
    known = set(re.findall(r"^\| `(HOLDFAST_\w+)` \|", table, re.MULTILINE))
    assert {name for name in service.environment if name.startswith("HOLDFAST_")} <= known


@pytest.mark.parametrize("service", SERVICES)
def test_every_lasting_service_is_checked_and_started_again(service) -> None:
    if service.name in ONCE:
        assert service.raw["restart"] == "no"
        return
    assert service.raw["restart"] == "unless-stopped"
    assert "healthcheck" in service.raw or service.name == "panel", "the panel's is the image's"


@pytest.mark.parametrize("service", SERVICES)
def test_our_containers_can_change_nothing_but_their_volumes(service) -> None:
    if not service.raw["image"].startswith("holdfast:"):
        return
    assert service.raw["read_only"] is True
    assert service.raw["cap_drop"] == ["ALL"]
    assert service.raw["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "user"} & set(service.raw)


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_workers_get_longer_to_end_than_they_take(name: str) -> None:
    worker = COMPOSITIONS[name].services["worker"]
    grace = int(worker.environment["HOLDFAST_GRACE_SECONDS"])
    # Ten seconds for what is handed over then: killed, and written down.
    assert worker.grace_seconds >= grace + 10


def test_workers_can_be_scaled() -> None:
    """Each has a host name of its own then, and with it a name."""
    worker = COMPOSITIONS["panel"].services["worker"]
    assert not {"container_name", "hostname", "network_mode", "ports"} & set(worker.raw)


def test_nothing_begins_before_the_migrations_have_ended() -> None:
    services = COMPOSITIONS["panel"].services
    for name in ("panel", "coordinator", "worker"):
        assert services[name].depends_on == {
            "migrate": "service_completed_successfully",
            "mariadb": "service_healthy",
            "redis": "service_healthy",
        }
    assert services["migrate"].depends_on == {"mariadb": "service_healthy"}


def test_only_the_panel_is_reachable_and_from_this_host_alone() -> None:
    ports = {
        name: service.raw["ports"]
        for name, service in COMPOSITIONS["panel"].services.items()
        if "ports" in service.raw
    }
    assert ports == {"panel": ["127.0.0.1:8000:8000"]}


def test_other_hosts_reach_database_and_broker_on_one_address_when_they_are_let_in() -> None:
    services = COMPOSITIONS["open"].services
    assert services["mariadb"].raw["ports"] == ["10.0.0.1:3306:3306"]
    assert services["redis"].raw["ports"] == ["10.0.0.1:6379:6379"]
    environment = services["panel"].environment
    assert environment["HOLDFAST_NODE_DATABASE_URL"] == "mysql://holdfast@10.0.0.1:3306/holdfast"
    assert environment["HOLDFAST_NODE_BROKER_URL"] == "redis://10.0.0.1:6379/0"
    assert services["panel"].secrets == COMPOSITIONS["panel"].services["panel"].secrets


@pytest.mark.parametrize(("path", "name"), [(PANEL, "SITES"), (NODE, "SITES"), (NODE, "PANEL_URL")])
def test_what_only_a_person_can_know_is_asked_for(path: Path, name: str) -> None:
    variables = {key: value for key, value in VARIABLES.items() if key != name}
    with pytest.raises(MissingVariableError, match=f"{name}: .*in .env"):
        Composition.load(path, variables=variables)


def test_every_variable_is_documented() -> None:
    texts = "\n".join(path.read_text() for path in (PANEL, NODE, OPEN))
    names = set(re.findall(r"(?<!\$)\$\{?([A-Z]\w*)", texts))
    documented = (ROOT / "docs/deployment.md").read_text()
    assert {"SITES", "PANEL_URL", "CLUSTER_ADDRESS"} <= names
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", documented)] == []


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$A ${A} $$A", "a a $A"),
        ("${A:-x} ${E:-x} ${N:-x} ${E-x} ${N-x}", "a x x  x"),
        ("${A:+x} ${E:+x} ${E+x} ${N+x}", "x  x "),
        ("${N} $N.", " ."),
    ],
)
def test_variables_are_filled_in_as_the_specification_says(text: str, filled: str) -> None:
    assert interpolate(text, {"A": "a", "E": ""}) == filled


def test_durations_are_read_as_the_specification_says() -> None:
    assert [seconds(one) for one in ("90s", "2m", "1m30s", "1h", "100ms")] == [
        90,
        120,
        90,
        3600,
        0.1,
    ]
