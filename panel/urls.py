"""Every route."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from backups.api.urls import both
from panel.accounts.sign_in_page import SignIn, SignOut
from panel.dashboard import pages
from panel.dashboard.views import BackupStream
from panel.health import health, live
from panel.home import home
from panel.metrics import Metrics
from panel.schema import one_at_a_time

# Its script is a file of its own, at `?script`: the content security policy refuses inline ones.
docs = SpectacularSwaggerSplitView.as_view(url_name="schema", template_name="panel/docs.html")

urlpatterns = [
    path("", home, name="home"),
    *both("health", health, "health"),
    *both("health/live", live, "health-live"),
    path("sign-in/", SignIn.as_view(), name="sign-in"),
    path("sign-out/", SignOut.as_view(), name="sign-out"),
    path("sites/", pages.my_sites, name="my-sites"),
    path("sites/<int:site_id>/", pages.site, name="site-page"),
    path("admin/backup-maintenance/", include("panel.dashboard.urls")),
    *both("metrics", Metrics.as_view(), "metrics"),
    path("admin/", admin.site.urls),
    path("api-auth/", include("rest_framework.urls")),
    *both("docs", docs, "docs"),
    *both("api/schema/", one_at_a_time(SpectacularAPIView.as_view()), "schema"),
    path("api/auth/", include("panel.accounts.urls")),
    path("api/v1/auth/", include(("panel.accounts.urls", "accounts"), namespace="v1-auth")),
    *both("api/v1/daemon/backup/stream/<int:site_id>", BackupStream.as_view(), "backup-stream"),
    path("api/v1/", include("panel.accounts.users_urls")),
    path("api/v1/", include("backups.api.urls")),
    path("api/", include("backups.api.tasks_urls")),
]

handler400 = "panel.errors.bad_request"
handler403 = "panel.errors.permission_denied"
handler404 = "panel.errors.not_found"
handler500 = "panel.errors.server_error"
