"""A browser's part that tests need: cookies, forms, and an address of its own on this host."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from dataclasses import dataclass, field
from http.cookies import Morsel, SimpleCookie
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

TIMEOUT = 20
PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@dataclass
class Page:
    """What came back; nothing is followed."""

    url: str
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def path_behind(self) -> str:
        """Where it leads, as a path of the same host, with its query."""
        there, here = urlsplit(urljoin(self.url, self.headers["Location"])), urlsplit(self.url)
        assert (there.scheme, there.netloc) == (here.scheme, here.netloc)
        return there._replace(scheme="", netloc="").geturl()

    def addresses(self) -> set[str]:
        """The paths that the page's links, forms, scripts and styles name, and its data."""
        found = re.findall(r'\s(?:href|src|action)="([^"#]+)"', self.text)
        found += re.findall(r'data-[a-z-]+="(/[^"]*)"', self.text)
        return {
            urljoin(urlsplit(self.url).path, address.replace("&amp;", "&")) for address in found
        }

    def hidden(self, name: str) -> str:
        """The value of a form's hidden field."""
        [value] = set(re.findall(rf'name="{name}" value="([^"]*)"', self.text))
        return str(value)


@dataclass
class Visitor:
    """Somebody who comes from `address`; keeps cookies and sends them as a browser does."""

    origin: str
    context: ssl.SSLContext
    address: str = "127.0.0.2"
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, Morsel[str]] = field(default_factory=dict)

    def open(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> http.client.HTTPResponse:
        """Return the answer, of which only the headers have been read."""
        parts = urlsplit(urljoin(self.origin, path))
        connection = http.client.HTTPSConnection(
            parts.hostname or "",
            parts.port,
            context=self.context,
            source_address=(self.address, 0),
            timeout=timeout,
        )
        cookies = "; ".join(f"{one.key}={one.value}" for one in self.cookies.values())
        sent = {"Accept": PAGE, **self.headers, **(headers or {})}
        sent |= {"Cookie": cookies} if cookies else {}
        connection.request(method, parts._replace(scheme="", netloc="").geturl(), body, sent)
        response = connection.getresponse()
        for value in response.headers.get_all("Set-Cookie", []):
            self.cookies |= SimpleCookie(value)
        return response

    def ask(self, path: str, **how: Any) -> Page:
        """Return the whole answer."""
        with self.open(path, **how) as response:
            url = urljoin(self.origin, path)
            return Page(url, response.status, dict(response.headers), response.read())

    def send_json(self, path: str, body: object, method: str = "POST") -> Page:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return self.ask(path, method=method, body=json.dumps(body).encode(), headers=headers)

    def submit(self, page: Page, **fields: str) -> Page:
        """Send the form of a page to the page itself."""
        fields["csrfmiddlewaretoken"] = page.hidden("csrfmiddlewaretoken")
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Referer": page.url,
            "Origin": self.origin.rstrip("/"),
        }
        path = urlsplit(page.url)._replace(scheme="", netloc="").geturl()
        return self.ask(path, method="POST", body=urlencode(fields).encode(), headers=headers)
