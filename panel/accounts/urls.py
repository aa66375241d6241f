"""The routes of sign-in, below /api/auth/ and /api/v1/auth/."""

from __future__ import annotations

from backups.api.urls import both
from panel.accounts import views

urlpatterns = [
    *both("login", views.Login.as_view(), "login"),
    *both("refresh", views.Refresh.as_view(), "refresh"),
    *both("me", views.Me.as_view(), "me"),
]
