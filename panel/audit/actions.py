"""What a route and a method mean, in the words of the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.urls import ResolverMatch

SIGN_IN, SIGN_OUT, UNKNOWN = "sign_in", "sign_out", "unknown_route"

# A test holds that each writing route has its line. The word never changes: people filter by it.
ACTIONS: dict[tuple[str, str], str] = {
    ("sites", "POST"): "site.add",
    ("site-manual", "POST"): "site.add",
    ("site", "PUT"): "site.change",
    ("site", "PATCH"): "site.change",
    ("site", "DELETE"): "site.delete",
    ("backup-start", "POST"): "backup.start",
    ("backup-stop", "POST"): "backup.stop",
    ("backup-reset", "POST"): "backup.reset",
    ("backup-verify", "POST"): "backup.verify",
    ("backup", "DELETE"): "backup.delete",
    ("backup-pin", "POST"): "backup.pin",
    ("backup-pin", "DELETE"): "backup.unpin",
    ("backup-trust", "POST"): "backup.trust",
    ("job", "DELETE"): "job.stop",
    ("job-retry", "POST"): "job.retry",
    ("job-undo", "POST"): "job.undo",
    ("job-confirm", "POST"): "job.confirm",
    ("site-restore", "POST"): "site.restore",
    ("node", "PATCH"): "node.change",
    ("node-token", "POST"): "node.invite",
    ("node-join", "POST"): "node.join",
    ("node-scale", "POST"): "node.scale",
    ("node-drain", "POST"): "node.drain",
    ("node-resume", "POST"): "node.resume",
    ("storages", "POST"): "storage.add",
    ("storage", "PUT"): "storage.change",
    ("storage", "PATCH"): "storage.change",
    ("storage", "DELETE"): "storage.delete",
    ("storage-test", "POST"): "storage.test",
    ("login", "POST"): SIGN_IN,
    ("logout", "POST"): SIGN_OUT,
    ("sign-in", "POST"): SIGN_IN,
    ("sign-out", "POST"): SIGN_OUT,
    ("refresh", "POST"): "token.refresh",
    ("register", "POST"): "user.register",
    ("dashboard-trigger", "POST"): "backup.start",
    ("stream-ticket", "POST"): "stream.ticket",
    ("users", "POST"): "user.add",
    ("user", "PATCH"): "user.change",
    ("user", "PUT"): "user.change",
    ("user", "DELETE"): "user.delete",
    ("user-nodes", "POST"): "user.assign_nodes",
    ("user-nodes", "PUT"): "user.assign_nodes",
    ("user-nodes", "DELETE"): "user.unassign_nodes",
    ("user-sites", "POST"): "user.assign_sites",
    ("user-sites", "PUT"): "user.assign_sites",
    ("user-sites", "DELETE"): "user.unassign_sites",
    ("site-schedule", "PUT"): "site.schedule",
    ("site-pause", "POST"): "site.pause",
    ("site-go-on", "POST"): "site.unpause",
    ("node-pause", "POST"): "node.pause",
    ("node-go-on", "POST"): "node.unpause",
    ("site-quota", "PUT"): "site.quota",
    ("site-retention", "PUT"): "site.retention",
    ("tasks", "POST"): "task.add",
    ("task", "PUT"): "task.change",
    ("task", "DELETE"): "task.delete",
    ("task-complete", "PATCH"): "task.complete",
}
# What makes something whose key only the answer knows.
MADE = frozenset({"add", "register"})
# The argument of a route that says what it is about, the most particular first.
ARGUMENTS = {
    "job_id": "job",
    "backup_id": "backup",
    "storage_id": "storage",
    "task_id": "task",
    "site_id": "site",
    "node_id": "node",
    "user_id": "user",
}


def route_name(match: ResolverMatch | None) -> str:
    """Return the route's name; of a route's second spelling, the first one's."""
    if match is None:
        return ""
    return match.url_name or str(getattr(match.func, "route_name", ""))


def action_of(match: ResolverMatch | None, method: str) -> str:
    """Return the word for what was asked for."""
    name = route_name(match)
    if not name:
        return UNKNOWN
    return ACTIONS.get((name, method)) or f"{name.replace('-', '_')}.{method.lower()}"


def object_of(
    action: str, arguments: Mapping[str, Any], answer: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the kind and the key of what an action is about, empty if it is nothing yet.

    What was just made has its key in the answer.
    """
    kind, _, verb = action.partition(".")
    made = answer.get("id") if verb in MADE else answer.get("backup_id")
    if verb == "join" and isinstance(node := answer.get("node"), Mapping):
        return kind, str(node.get("id", ""))
    if verb in MADE and made is not None:
        return kind, str(made)
    for argument, found in ARGUMENTS.items():
        if argument in arguments:
            return found, str(arguments[argument])
    if kind in ARGUMENTS.values():
        return kind, "" if made is None else str(made)
    return "", ""
