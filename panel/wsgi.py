"""The WSGI entry point, for servers that speak nothing else (streams need ASGI)."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")
django_application = get_wsgi_application()

from django.conf import settings  # noqa: E402 (reads the settings)

from panel.url_prefix import prefixed_wsgi  # noqa: E402

application = prefixed_wsgi(django_application, settings.HOLDFAST_URL_PREFIX)
