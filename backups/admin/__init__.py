"""The domain in Django's admin: what may be changed goes through `actions`, the rest is read."""

from django.contrib import admin
from django_celery_results.models import GroupResult, TaskResult

from backups.admin import audit, bundles, followups, history, jobs, nodes, sites, storages

__all__ = ["audit", "bundles", "followups", "history", "jobs", "nodes", "sites", "storages"]

# What workers answered to the panel's questions within the last hour: of no use to anybody here.
admin.site.unregister([TaskResult, GroupResult])
