"""The page where people sign in and out, whatever their role."""

from __future__ import annotations

from typing import cast

from django.contrib.auth import views
from django.urls import reverse

from panel.accounts.models import User


class SignIn(views.LoginView):
    """Ask for name and password, and lead to where somebody wanted to go."""

    template_name = "panel/sign_in.html"
    http_method_names = ["get", "head", "post", "options"]
    redirect_authenticated_user = True
    extra_context = {"title": "Sign in", "is_nav_sidebar_enabled": False}

    def get_default_redirect_url(self) -> str:
        """Return the dashboard for staff, the list of sites for others."""
        user = cast(User, self.request.user)
        return reverse("dashboard" if user.is_staff else "my-sites")


class SignOut(views.LogoutView):
    """End the session; by POST alone, so that no foreign page can do it."""

    http_method_names = ["post", "options"]

    def get_default_redirect_url(self) -> str:
        """Return the sign-in page."""
        return reverse("sign-in")
