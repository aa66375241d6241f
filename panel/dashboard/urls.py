"""What the dashboard's page fetches, below /admin/backup-maintenance/."""

from __future__ import annotations

from django.urls import path

from backups.api.urls import both
from panel.dashboard import pages, running, views

SSE = "backup-progress-sse/<uuid:job_id>"

urlpatterns = [
    path("", pages.dashboard, name="dashboard"),
    path("overview", pages.overview_part, name="dashboard-overview"),
    *both("trigger", views.Trigger.as_view(), "dashboard-trigger"),
    *both("backup-progress/<uuid:job_id>", views.Progress.as_view(), "dashboard-progress"),
    *both(SSE, views.ProgressStream.as_view(), "dashboard-progress-stream"),
    *both("running", running.RunningJobs.as_view(), "dashboard-running"),
    *both("running-sse", running.RunningStream.as_view(), "dashboard-running-stream"),
]
