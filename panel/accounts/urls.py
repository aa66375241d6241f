"""The routes of sign-in, below /api/auth/ and /api/v1/auth/."""

from __future__ import annotations

from backups.api.urls import both
from panel.accounts import views

urlpatterns = [
    *both("register", views.Register.as_view(), "register"),
    *both("login", views.Login.as_view(), "login"),
    *both("refresh", views.Refresh.as_view(), "refresh"),
    *both("logout", views.Logout.as_view(), "logout"),
    *both("me", views.Me.as_view(), "me"),
    *both("stream-ticket", views.StreamTicketView.as_view(), "stream-ticket"),
]
