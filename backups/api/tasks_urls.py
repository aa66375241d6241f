"""The routes of people's to-do lists, directly below /api/: `<user id>/tasks…`.

User ids are numbers, so that nothing here hides /api/auth/, /api/v1/ or /api/schema/.
"""

from __future__ import annotations

from backups.api.urls import both
from backups.api.views import followups

_ROUTES = (
    ("<int:user_id>/tasks", followups.TaskList.as_view(), "tasks"),
    ("<int:user_id>/tasks/stats", followups.TaskStats.as_view(), "task-stats"),
    ("<int:user_id>/tasks/<int:task_id>", followups.TaskDetail.as_view(), "task"),
    ("<int:user_id>/tasks/<int:task_id>/complete", followups.TaskComplete.as_view(),
     "task-complete"),
)  # fmt: skip

urlpatterns = [pattern for route in _ROUTES for pattern in both(*route)]
