"""Django's settings. Whatever may differ between installations comes from `panel.env`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from csp.constants import NONE, SELF

from backups.broker_tls import tls_options
from panel.env import derived_key, read_environment

ENVIRONMENT = read_environment()

SECRET_KEY = ENVIRONMENT.secret_key
DEBUG = False
ALLOWED_HOSTS = ENVIRONMENT.allowed_hosts
CSRF_TRUSTED_ORIGINS = ENVIRONMENT.csrf_trusted_origins
ROOT_URLCONF = "panel.urls"
ASGI_APPLICATION = "panel.asgi.application"
WSGI_APPLICATION = "panel.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = ["panel.formats"]
# Below a path of somebody else's site: see panel/url_prefix.py.
FORCE_SCRIPT_NAME = ENVIRONMENT.url_prefix or None
# Absolute: Django would add the prefix of whatever was running when it is first asked for.
STATIC_URL = f"{ENVIRONMENT.url_prefix}/static/"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "sites"
CSRF_FAILURE_VIEW = "panel.errors.csrf_failure"

INSTALLED_APPS = [
    # First, since its templates stand in for those of others.
    "panel",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_simplejwt",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_results",
    "axes",
    "corsheaders",
    "csp",
    "panel.accounts",
    "backups",
    "workers",
]

MIDDLEWARE = [
    "panel.proxies.TrustedProxies",
    "panel.requests.RequestContext",
    "panel.audit.trail.AuditTrail",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "panel.headers.BrowserPolicies",
    "corsheaders.middleware.CorsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "panel.json_routes.CommonChecks",
    "panel.json_routes.NoSignInPage",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "panel.limits.RequestLimits",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # The last one: it turns what the sign-in forms answer into "locked out".
    "axes.middleware.AxesMiddleware",
]

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]

# Lock-out on sign-in, at every door: see panel/accounts/lockout.py.
AXES_HANDLER = "panel.accounts.lockout.FailureHandler"
AXES_FAILURE_LIMIT = ENVIRONMENT.sign_in_failures
AXES_COOLOFF_TIME = timedelta(minutes=ENVIRONMENT.sign_in_lock_minutes)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_CALLABLE = "panel.accounts.lockout.lock_key"
AXES_CLIENT_IP_CALLABLE = "panel.accounts.lockout.client_address"
AXES_LOCKOUT_CALLABLE = "panel.accounts.lockout.locked_out"
AXES_RESET_ON_SUCCESS = True
# Whoever keeps on trying is let in no later: `Retry-After` stays true.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# Who signed in is kept elsewhere; these rows would stay for ever.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
# The log names the address alone.
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username"]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": ENVIRONMENT.database}

# Who has an older hash gets the first one's at their next sign-in.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

_VALIDATION = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {
        "NAME": f"{_VALIDATION}.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "username", "full_name")},
    },
    *(
        {"NAME": f"{_VALIDATION}.{name}"}
        for name in (
            "MinimumLengthValidator",
            "CommonPasswordValidator",
            "NumericPasswordValidator",
        )
    ),
]

# Static files are served from the packages' own folders, so that no collectstatic is needed.
WHITENOISE_USE_FINDERS = True

_COOKIE_PREFIX = "__Host-" if ENVIRONMENT.production else ""
# With this prefix a browser takes a cookie over HTTPS only, and from no other host of the domain.
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}sessionid"
SESSION_COOKIE_SECURE = ENVIRONMENT.production
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrftoken"
CSRF_COOKIE_SECURE = ENVIRONMENT.production
# Only what a trusted proxy says gets this far: see panel/proxies.py.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = ENVIRONMENT.max_request_bytes
# Our pages carry the token in their forms; no script has to read the cookie.
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_HSTS_SECONDS = ENVIRONMENT.hsts_seconds
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_SSL_REDIRECT = ENVIRONMENT.https_redirect
# What load balancers and Prometheus ask on the inside, where there is no HTTPS.
_BELOW = f"{ENVIRONMENT.url_prefix}/".lstrip("/")
SECURE_REDIRECT_EXEMPT = [rf"^{_BELOW}{path}/?$" for path in ("health", "health/live", "metrics")]
# To be on browsers' preload lists is for the owner of the domain to ask for, not for one host.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

# Scripts and styles are files of our own: nothing inline, nothing from elsewhere.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}

# Front ends of other origins show tokens; cookies are for our own pages.
CORS_ALLOWED_ORIGINS = ENVIRONMENT.cors_allowed_origins
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_HEADERS = ("accept", "authorization", "content-type", "last-event-id", "x-request-id")
CORS_EXPOSE_HEADERS = ("X-Request-ID", "Retry-After")

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "panel.accounts.authentication.SignInAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PARSER_CLASSES": [
        "backups.api.parsing.StrictJSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "panel.browsable.StrictBrowsableAPIRenderer",
    ],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_METADATA_CLASS": "backups.api.metadata.RouteMetadata",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "backups.api.errors.handle_exception",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=ENVIRONMENT.access_token_minutes),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=ENVIRONMENT.refresh_token_days),
    # One algorithm: a token cannot choose how it is checked.
    "ALGORITHM": "HS256",
    "ISSUER": "holdfast",
    # Without it a password change leaves old tokens alive.
    "CHECK_REVOKE_TOKEN": True,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Holdfast",
    "DESCRIPTION": "Self-hosted backup cluster for web sites.",
    "VERSION": "0.1.0",
    # Paths in the schema have no prefix.
    "SERVERS": [{"url": ENVIRONMENT.url_prefix}] if ENVIRONMENT.url_prefix else [],
    "SERVE_INCLUDE_SCHEMA": False,
    # For everybody: credentials do not matter, not even wrong ones.
    "SERVE_AUTHENTICATION": [],
    # What has a default need not be sent, but is in every answer.
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "backups.api.schema.describe_all",
    ],
    "PREPROCESSING_HOOKS": ["backups.api.urls.hide_second_spellings"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # No badge from an outside host, which would be told the address of the schema.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "ENUM_NAME_OVERRIDES": {
        "JobStateEnum": "backups.states.JobState",
        "StageNameEnum": "backups.registry.STAGE_NAMES",
        "TypeEnum": "backups.registry.STORE_CHOICES",
        "EntryTypeEnum": "backups.api.serializers.contents.KINDS",
    },
}

CELERY_BROKER_URL = ENVIRONMENT.broker_url
CELERY_BROKER_USE_SSL = tls_options(ENVIRONMENT.broker_url, ENVIRONMENT.broker_ca_file)
# Each value and its reason is in docs/architecture.md, "Celery". In short: a message is a doorbell
# and the row is the queue, so nothing here tries to make Redis reliable.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "ack_emulation": False,
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 25,
    # No message has a priority: a waiting worker names one list to Redis each second, not four.
    "priority_steps": [0],
}
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TRACK_STARTED = False
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXPIRES = timedelta(hours=1)
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TASK_SEND_SENT_EVENT = False
CELERY_WORKER_MAX_TASKS_PER_CHILD = 100
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 2,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.5,
}
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# No queue but a node's own: a task without a queue is a mistake that must not find a consumer.
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_TASK_DEFAULT_QUEUE = "unrouted"

HOLDFAST_ENCRYPTION_KEYS = ENVIRONMENT.encryption_keys
HOLDFAST_DERIVED_KEY = derived_key(SECRET_KEY)
HOLDFAST_SPOOL_DIRECTORY = ENVIRONMENT.spool_directory
HOLDFAST_SPOOL_RESERVE_MB = ENVIRONMENT.spool_reserve_mb
HOLDFAST_LEASE_SECONDS = ENVIRONMENT.lease_seconds
HOLDFAST_CLAIM_SECONDS = ENVIRONMENT.claim_seconds
HOLDFAST_NODE_ANSWER_SECONDS = ENVIRONMENT.node_answer_seconds
HOLDFAST_DOWNLOAD_URL_SECONDS = ENVIRONMENT.download_url_seconds
HOLDFAST_GRACE_SECONDS = ENVIRONMENT.grace_seconds
HOLDFAST_AGENT_SECONDS = ENVIRONMENT.agent_seconds
HOLDFAST_HEARTBEAT_SECONDS = ENVIRONMENT.heartbeat_seconds
HOLDFAST_TIDY_SECONDS = ENVIRONMENT.tidy_seconds
HOLDFAST_LEADER_SECONDS = ENVIRONMENT.leader_seconds
HOLDFAST_PROOFS = ENVIRONMENT.proofs
HOLDFAST_PROOF_DAYS = ENVIRONMENT.proof_days
HOLDFAST_PROOF_HOURS = ENVIRONMENT.proof_hours
HOLDFAST_RETENTION = ENVIRONMENT.retention
HOLDFAST_RETENTION_POLICY = {
    "keep_last": ENVIRONMENT.retention_copies,
    "daily": ENVIRONMENT.retention_daily,
    "weekly": ENVIRONMENT.retention_weekly,
    "monthly": ENVIRONMENT.retention_monthly,
    "yearly": ENVIRONMENT.retention_yearly,
}
HOLDFAST_KEEP_FAILED_HOURS = ENVIRONMENT.keep_failed_hours
HOLDFAST_SCHEDULE_WINDOW_MINUTES = ENVIRONMENT.schedule_window_minutes
HOLDFAST_URL_PREFIX = ENVIRONMENT.url_prefix
HOLDFAST_TRUSTED_PROXIES = ENVIRONMENT.trusted_proxies
HOLDFAST_MAX_REQUEST_BYTES = ENVIRONMENT.max_request_bytes
HOLDFAST_METRICS_TOKEN = ENVIRONMENT.metrics_token
HOLDFAST_AUDIT_DAYS = ENVIRONMENT.audit_days
HOLDFAST_REGISTRATION_OPEN = ENVIRONMENT.registration_open
HOLDFAST_REFRESH_TOKEN_DAYS = ENVIRONMENT.refresh_token_days
HOLDFAST_LOCAL_ENDPOINTS = ENVIRONMENT.local_endpoints
HOLDFAST_AGE_IDENTITY_FILE = ENVIRONMENT.age_identity_file
HOLDFAST_SCRATCH_DATABASES = ENVIRONMENT.scratch_databases
# What a host that joins gets, and keeps; see backups/actions/enrolment.py.
HOLDFAST_ENVIRONMENT = "production" if ENVIRONMENT.production else "development"
HOLDFAST_NODE = ENVIRONMENT.node
HOLDFAST_NODE_FILE = ENVIRONMENT.node_file
HOLDFAST_NODE_CREDENTIAL = ENVIRONMENT.node_credential
HOLDFAST_PANEL_URL = ENVIRONMENT.panel_url
HOLDFAST_NODE_DATABASE_URL = ENVIRONMENT.node_database_url
HOLDFAST_NODE_BROKER_URL = ENVIRONMENT.node_broker_url
# The domain does not import the panel, but what a host received is checked as the panel reads it.
HOLDFAST_ENVIRONMENT_READER = "panel.env.environment_with"
# What else the coordinator removes from time to time: functions without arguments.
HOLDFAST_TIDY_STEPS = ["panel.accounts.sign_ins.forget_old_sign_ins"]

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "()": "panel.logs.TextLines",
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
        },
        "json": {"()": "panel.logs.JsonLines"},
    },
    "filters": {
        "add_context": {"()": "backups.log_context.AddContext"},
        "mask_links": {"()": "panel.logs.MaskLinks"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": ENVIRONMENT.log_format,
            "filters": ["add_context", "mask_links"],
        },
    },
    "root": {"handlers": ["stderr"], "level": ENVIRONMENT.log_level},
    "loggers": {
        "axes": {"level": "WARNING"},
        # Its DEBUG lines are statements with their parameters.
        "django.db.backends": {"level": "INFO"},
        # botocore logs whole requests, signatures included, below WARNING.
        "botocore": {"level": "WARNING"},
        "boto3": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        "s3transfer": {"level": "WARNING"},
        # Through our own handler, which masks; uvicorn's would print links as they are.
        "uvicorn": {"handlers": [], "propagate": True},
        # The panel writes lines of its own about requests: see panel/requests.py.
        "uvicorn.access": {"handlers": [], "propagate": False},
    },
}
