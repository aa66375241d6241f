"""The ASGI entry point: `uvicorn panel.asgi:application --no-proxy-headers --no-access-log`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")
django_application = get_asgi_application()

from django.conf import settings  # noqa: E402

from panel.limits import limited  # noqa: E402 (reads the settings)
from panel.threads import on_kept_threads  # noqa: E402
from panel.url_prefix import prefixed  # noqa: E402

application = on_kept_threads(prefixed(limited(django_application), settings.HOLDFAST_URL_PREFIX))
