"""What the systemd units say, without running them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from panel.env import SECRET_KEY_CHARACTERS
from tests.deploy.units import INSTALLED, ROOT, UNITS, Unit, read_units
from workers.agent.supervisor import REFUSED

ALL = read_units()
LASTING = [name for name, unit in ALL.items() if unit.one("Service.Type") != "oneshot"]
# What a unit of ours may contain: a name that systemd does not know is only warned about there.
KNOWN = {
    *("Unit.Description", "Unit.After", "Unit.Wants", "Unit.StartLimitIntervalSec"),
    *("Install.WantedBy", "Service.Type", "Service.User", "Service.Group", "Service.UMask"),
    *("Service.WorkingDirectory", "Service.Environment", "Service.EnvironmentFile"),
    *("Service.ExecStartPre", "Service.ExecStart", "Service.ExecStop", "Service.KillMode"),
    *("Service.Restart", "Service.RestartSec", "Service.RestartPreventExitStatus"),
    *("Service.TimeoutStartSec", "Service.TimeoutStopSec", "Service.OOMPolicy"),
    *("Service.StateDirectory", "Service.StateDirectoryMode", "Service.ReadWritePaths"),
    *("Service.AmbientCapabilities", "Service.CapabilityBoundingSet", "Service.NoNewPrivileges"),
    *("Service.ProtectSystem", "Service.ProtectHome", "Service.PrivateTmp"),
    *("Service.PrivateDevices", "Service.ProtectClock", "Service.ProtectControlGroups"),
    *("Service.ProtectHostname", "Service.ProtectKernelLogs", "Service.ProtectKernelModules"),
    *("Service.ProtectKernelTunables", "Service.ProtectProc", "Service.RestrictAddressFamilies"),
    *("Service.RestrictNamespaces", "Service.RestrictRealtime", "Service.RestrictSUIDSGID"),
    *("Service.LockPersonality", "Service.SystemCallArchitectures", "Service.SystemCallFilter"),
    "Service.SystemCallErrorNumber",
}


def test_there_is_a_unit_for_each_process() -> None:
    assert set(ALL) == {"panel", "coordinator", "worker", "migrate"}


@pytest.mark.parametrize("name", ALL)
def test_a_unit_has_only_settings_that_exist(name: str) -> None:
    assert set(ALL[name].settings) <= KNOWN
    words = [ALL[name].all(f"Service.{one}") for one in ("KillMode", "Restart", "OOMPolicy")]
    assert {word for found in words for word in found} <= {
        *("control-group", "always", "on-failure", "continue"),
    }


@pytest.mark.parametrize("name", ALL)
def test_systemd_itself_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    """Where systemd is; everywhere else the test above has read the same lines."""
    if not (program := shutil.which("systemd-analyze")):
        return
    # It looks whether programs are there: those of this checkout stand for the installed ones.
    text = (UNITS / ALL[name].name).read_text()
    unit = tmp_path / ALL[name].name
    unit.write_text(text.replace(f"{INSTALLED}/.venv/bin/python", sys.executable))
    argv = [program, "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_service_is_started_again_for_ever_and_leaves_no_process(name: str) -> None:
    unit = ALL[name]
    assert unit.one("Service.Restart") == "always"
    assert unit.one("Unit.StartLimitIntervalSec") == "0"
    assert unit.one("Service.KillMode") == "control-group"
    assert unit.one("Install.WantedBy") == "multi-user.target"


@pytest.mark.parametrize("name", ALL)
def test_no_service_is_root_or_can_become_it(name: str) -> None:
    unit = ALL[name]
    assert unit.one("Service.User") == "holdfast"
    assert unit.one("Service.NoNewPrivileges") == "yes"
    assert unit.one("Service.ProtectSystem") == "strict"
    # The worker reads whatever its sites consist of, whoever owns it; nobody else needs that.
    allowed = "CAP_DAC_READ_SEARCH" if name == "worker" else ""
    assert unit.one("Service.CapabilityBoundingSet") == allowed


def test_the_worker_is_waited_for_longer_than_it_takes() -> None:
    unit = ALL["worker"]
    assert unit.stop_seconds >= int(unit.environment["HOLDFAST_GRACE_SECONDS"]) + 10


def test_a_worker_that_was_refused_is_not_started_again_and_again() -> None:
    assert ALL["worker"].one("Service.RestartPreventExitStatus") == str(REFUSED)


@pytest.mark.parametrize("name", ["panel", "coordinator"])
def test_nothing_runs_over_a_schema_that_is_not_migrated(name: str) -> None:
    unit = ALL[name]
    assert "holdfast-migrate.service" in unit.one("Unit.Wants")
    assert "holdfast-migrate.service" in unit.one("Unit.After")
    assert unit.command("Service.ExecStartPre")[1:] == ["manage.py", "migrate", "--check"]


@pytest.mark.parametrize("name", ALL)
def test_no_unit_holds_a_secret(name: str) -> None:
    text = (UNITS / ALL[name].name).read_text()
    assert not re.search(r"PASSWORD=|SECRET_KEY=|KEYS=|://[^/\s]*:[^/\s]*@", text)


def test_the_settings_of_the_panels_host_are_documented_and_name_secrets_by_their_files() -> None:
    text = (ROOT / "deploy/holdfast.env").read_text()
    settings = dict(re.findall(r"^#?(HOLDFAST_\w+)=(.+)$", text, re.MULTILINE))
    table = (ROOT / "docs/configuration.md").read_text()
    assert set(settings) <= set(re.findall(r"^\| `(HOLDFAST_\w+)` \|", table, re.MULTILINE))
    made = (ROOT / "deploy/make-secrets").read_text()
    for name in (name for name in settings if name.endswith("_FILE")):
        assert re.search(rf"^make {Path(settings[name]).name} ", made, re.MULTILINE), name
    assert all(len(value) < SECRET_KEY_CHARACTERS or "/" in value for value in settings.values())


def test_units_are_read_as_systemd_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "a.service"
    path.write_text(
        "# comment\n[Service]\nEnvironment=A=1 'B=2 3'\nEnvironment=C=4\n"
        "ExecStart=-/bin/sh -c 'echo $$A' \\\n  x\nTimeoutStopSec=90s\n"
    )
    unit = Unit.read(path)
    assert unit.environment == {"A": "1", "B": "2 3", "C": "4"}
    assert unit.command("Service.ExecStart") == ["/bin/sh", "-c", "echo $A", "x"]
    assert unit.stop_seconds == 90
