"""The routes of users, below /api/v1/."""

from __future__ import annotations

from backups.api.urls import both
from panel.accounts import users_views, views

urlpatterns = [
    *both("users/", users_views.UserList.as_view(), "users"),
    *both("users/me", views.Me.as_view(), "users-me"),
    *both("users/<int:user_id>", users_views.UserDetail.as_view(), "user"),
    *both("users/<int:user_id>/nodes", users_views.UserNodes.as_view(), "user-nodes"),
    *both("users/<int:user_id>/sites", users_views.UserSites.as_view(), "user-sites"),
]
