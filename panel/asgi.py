"""The ASGI entry point: `uvicorn panel.asgi:application --no-proxy-headers --no-access-log`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")
django_application = get_asgi_application()

from panel.limits import limited  # noqa: E402 (reads the settings)
from panel.threads import on_kept_threads  # noqa: E402

application = on_kept_threads(limited(django_application))
