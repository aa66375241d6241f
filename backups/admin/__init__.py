"""The domain in Django's admin: what may be changed goes through `actions`, the rest is read."""

from backups.admin import history, nodes, sites, storages

__all__ = ["history", "nodes", "sites", "storages"]
