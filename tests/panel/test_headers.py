"""What every answer tells a browser, and that our pages can live with it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from backups.models import Node, Site, Storage
from panel.accounts.models import User

BROWSER = {"accept": "text/html"}
FRONT_END = "https://front.example.com"
POLICY = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "frame-ancestors": "'none'",
    "form-action": "'self'",
}
PAGES = [
    *("/docs", "/docs/", "/admin/", "/admin/backups/site/", "/admin/backups/site/add/"),
    *("/admin/backups/site/{site}/change/", "/admin/backups/site/{site}/delete/"),
    *("/admin/backups/node/", "/admin/backups/node/{node}/change/", "/admin/backups/job/"),
    *("/admin/backups/storage/add/", "/admin/accounts/user/", "/admin/password_change/"),
    *("/api/v1/sites/", "/api/v1/sites/{site}", "/api/v1/jobs", "/api/v1/nodes/{node}"),
    *("/api/v1/storage/providers", "/api/v1/sites/{site}/backup/status", "/api/v1/nodes/999"),
]
SIGN_IN_PAGES = ["/admin/login/", "/api-auth/login/", "/api/v1/sites/"]


class Inline(HTMLParser):
    """Collects what a policy without unsafe-inline refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.scripts += tag == "script"
        is_data = (named.get("type") or "") == "application/json"
        if tag == "style" or (tag == "script" and "src" not in named and not is_data):
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            address = (value or "").strip().lower()
            if name == "style" or name.startswith("on") or address.startswith("javascript:"):
                self.found.append(f"<{tag} {name}={value!r}>")
            is_loaded = name == "src" or (tag == "link" and name == "href")
            if is_loaded and not address.startswith(("/static/", "/admin/jsi18n", "/docs")):
                self.found.append(f"<{tag} {name}={value!r}>")


def inline_in(html: str) -> list[str]:
    parser = Inline()
    parser.feed(html)
    return parser.found


def policy_of(answer: Any) -> dict[str, str]:
    directives = answer["Content-Security-Policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


@pytest.fixture
def rows(db: None) -> dict[str, int]:
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    storage = Storage.objects.create(name="folder", type="local", config={"path": "/srv/b"})
    site = Site.objects.create(name="example.com", node=node, storage=storage, wp_path="/srv/e")
    return {"site": site.pk, "node": node.pk}


@pytest.fixture
def signed_in(db: None) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("super@example.com", "a-fine-password"))
    return client


@pytest.mark.parametrize("path", PAGES)
def test_page_holds_nothing_that_the_policy_refuses(
    path: str, rows: dict[str, int], signed_in: Client
) -> None:
    answer = signed_in.get(path.format(**rows), headers=BROWSER)
    assert answer["Content-Type"].startswith("text/html"), answer.content
    assert policy_of(answer) == POLICY
    assert inline_in(answer.content.decode()) == []


@pytest.mark.parametrize("kind", ["changelist", "add"])
def test_every_page_of_the_admin_holds_nothing_that_the_policy_refuses(
    kind: str, rows: dict[str, int], signed_in: Client
) -> None:
    seen = 0
    for model in admin.site._registry:
        path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}")
        answer = signed_in.get(path)
        seen += answer.status_code == 200
        assert inline_in(answer.content.decode()) == [], path
    assert seen >= (8 if kind == "changelist" else 4)


def test_page_that_asks_again_holds_nothing_that_the_policy_refuses(
    rows: dict[str, int], signed_in: Client
) -> None:
    form = {"action": "scale", "_selected_action": [rows["node"]]}
    answer = signed_in.post("/admin/backups/node/", form)
    assert b'name="confirmed"' in answer.content
    assert inline_in(answer.content.decode()) == []


@pytest.mark.parametrize("path", SIGN_IN_PAGES)
def test_page_of_nobody_holds_nothing_that_the_policy_refuses(path: str, db: None) -> None:
    answer = Client().get(path, headers=BROWSER)
    assert policy_of(answer) == POLICY
    assert inline_in(answer.content.decode()) == []


def test_search_for_inline_code_finds_each_kind() -> None:
    for bad in (
        "<script>x()</script>",
        "<style>a{}</style>",
        '<p style="color: red">',
        '<a onclick="x()">',
        '<a href="javascript:x()">',
        '<script src="https://cdn.example.com/x.js"></script>',
    ):
        assert inline_in(bad), bad
    assert inline_in('<script type="application/json">{}</script><script src="/static/x">') == []


def test_script_of_the_docs_is_a_file_of_its_own(client: APIClient, db: None) -> None:
    page = client.get("/docs", headers=BROWSER).content.decode()
    [address] = re.findall(r'src="(/docs[^"]*)"', page)
    script = client.get(address)
    assert script["Content-Type"].startswith("application/javascript")
    assert "SwaggerUIBundle" in script.content.decode()
    assert "validator" not in page


def test_people_sign_out_of_the_browsable_api_with_a_form(
    rows: dict[str, int], signed_in: Client
) -> None:
    page = signed_in.get("/api/v1/sites/", headers=BROWSER).content.decode()
    assert 'action="/api-auth/logout/?next=/api/v1/sites/" method="post"' in page
    signed_in.post("/api-auth/logout/?next=/api/v1/sites/")
    assert signed_in.get("/api/v1/sites/").status_code == 401


@pytest.mark.parametrize("path", ["/", "/health/live", "/api/v1/sites/", "/api/v1/nothing", "/no"])
def test_every_answer_has_the_headers(path: str, client: APIClient, db: None) -> None:
    answer = client.get(path)
    assert policy_of(answer) == POLICY
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]


def test_cookies_are_kept_from_scripts_and_other_sites(signed_in: Client) -> None:
    browser = Client()
    form = {"username": "super@example.com", "password": "a-fine-password"}
    cookies = browser.post("/admin/login/", form).cookies
    assert {"csrftoken", "sessionid"} == set(cookies)
    for cookie in cookies.values():
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax"), cookie
        assert (cookie["path"], cookie["domain"]) == ("/", ""), cookie


# CORS.


@pytest.fixture
def front_end(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [FRONT_END]


def preflight(client: APIClient, path: str, origin: str) -> Any:
    return client.options(
        path,
        headers={
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        },
    )


def test_listed_front_end_may_call_the_api(client: APIClient, front_end: None, db: None) -> None:
    asked = preflight(client, "/api/v1/sites/", FRONT_END)
    assert asked.status_code == 200
    assert asked["Access-Control-Allow-Origin"] == FRONT_END
    assert "authorization" in asked["Access-Control-Allow-Headers"]
    answer = client.get("/api/v1/sites/", headers={"origin": FRONT_END})
    assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (401, FRONT_END)
    exposed = {name.strip() for name in answer["Access-Control-Expose-Headers"].split(",")}
    assert exposed == {"X-Request-ID", "Retry-After"}
    # Its requests bring tokens: a browser sends it no cookie of ours, and shows it no such answer.
    for one in (asked, answer):
        assert "Access-Control-Allow-Credentials" not in one
        assert "origin" in one["Vary"].lower()


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example.org", "http://front.example.com", f"{FRONT_END}.evil.org", "null"],
)
def test_other_origins_are_told_nothing(
    origin: str, client: APIClient, front_end: None, db: None
) -> None:
    for answer in (
        preflight(client, "/api/v1/sites/", origin),
        client.get("/api/v1/sites/", headers={"origin": origin}),
    ):
        assert "Access-Control-Allow-Origin" not in answer


@pytest.mark.parametrize("path", ["/admin/", "/health", "/", "/docs", "/metrics"])
def test_front_end_may_call_nothing_but_the_api(
    path: str, client: APIClient, front_end: None, db: None
) -> None:
    answer = client.get(path, headers={"origin": FRONT_END})
    assert "Access-Control-Allow-Origin" not in answer


# HTTPS.


@pytest.fixture
def redirected(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 31536000


@pytest.mark.parametrize("path", ["/", "/admin/", "/api/v1/sites/", "/healthy", "/api/metrics"])
def test_plain_http_is_sent_to_https(
    path: str, client: APIClient, redirected: None, db: None
) -> None:
    answer = client.get(f"{path}?a=b")
    assert (answer.status_code, answer["Location"]) == (301, f"https://testserver{path}?a=b")
    assert "Strict-Transport-Security" not in answer


@pytest.mark.parametrize("path", ["/health", "/health/", "/health/live", "/metrics"])
def test_what_is_asked_on_the_inside_answers_over_plain_http(
    path: str, client: APIClient, redirected: None, db: None
) -> None:
    assert client.get(path).status_code in (200, 401, 503)


def test_browser_is_told_to_come_by_https_only(
    client: APIClient, redirected: None, db: None
) -> None:
    answer = client.get("/health/live", secure=True)
    assert answer["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
