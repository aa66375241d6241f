"""How a broker that speaks TLS (`rediss://`) is made sure of; knows no settings."""

from __future__ import annotations

import ssl
from typing import Any

TLS = "rediss://"


def tls_options(url: str, ca_file: str) -> dict[str, Any]:
    """Return what Celery and Redis's client need to check certificates; nothing without TLS.

    Against the authorities that the system trusts, and the one in `ca_file` if it is named. Left to
    itself, Celery checks nothing: whoever is on the way could read and write every message.
    """
    if not url.startswith(TLS):
        return {}
    options: dict[str, Any] = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    return {**options, "ssl_ca_certs": ca_file} if ca_file else options
