"""The domain in Django's admin: what may be changed goes through `actions`, the rest is read."""

from backups.admin import audit, followups, history, nodes, sites, storages

__all__ = ["audit", "followups", "history", "nodes", "sites", "storages"]
