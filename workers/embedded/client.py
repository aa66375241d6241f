"""Speaks to the panel as any client would: JSON over HTTP, with a token."""

from __future__ import annotations

import http.client
import json
from typing import Any

from workers.engine.errors import EngineError

REQUEST_SECONDS = 60.0


class Refused(EngineError):
    """The panel answered with an error; `status` is its HTTP status, `code` its stable word."""

    def __init__(self, status: int, body: Any) -> None:  # noqa: ANN401
        said = body if isinstance(body, dict) else {}
        fields = json.dumps(said["errors"], ensure_ascii=False) if "errors" in said else ""
        super().__init__(
            f"The panel answered {status}: {said.get('detail', 'no reason')} {fields}".strip(),
            code=str(said.get("code", "refused")),
        )
        self.status = status


class Client:
    """A client of the panel on `port` of this machine."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._token = ""

    def sign_in(self, email: str, password: str) -> None:
        """Get a token for what follows; raises `Refused`."""
        body = {"email": email, "password": password}
        self._token = self.post("/api/auth/login", body)["access_token"]

    def alive(self) -> bool:
        """Return whether the panel answers."""
        try:
            self.get("/health/live")
        except (EngineError, OSError):
            return False
        return True

    def get(self, path: str) -> Any:  # noqa: ANN401
        """Return the JSON that `path` answers; raises `Refused`."""
        return self._request("GET", path, None)

    def post(self, path: str, body: object = None) -> Any:  # noqa: ANN401
        """Post JSON and return the answer's; raises `Refused`."""
        return self._request("POST", path, {} if body is None else body)

    def _request(self, method: str, path: str, body: object) -> Any:  # noqa: ANN401
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=REQUEST_SECONDS)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            answer = _parsed(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"The panel cannot be reached: {error}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise Refused(response.status, answer)
        return answer


def _parsed(data: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None
