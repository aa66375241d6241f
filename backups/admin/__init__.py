"""The domain in Django's admin: what may be changed goes through `actions`, the rest is read."""

from backups.admin import followups, history, nodes, sites, storages

__all__ = ["followups", "history", "nodes", "sites", "storages"]
