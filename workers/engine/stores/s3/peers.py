"""Looks at whom a connection has reached before a byte is sent over it.

A name is looked up when the connection is made, so only the connected socket says where a request
goes: a check of the name before could be answered differently, and redirects change it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from workers.engine.endpoints import EndpointNotAllowed, may_reach

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def guard(client: S3Client) -> None:
    """Let the client speak to peers that a storage may be at, and to no other."""
    session: Any = client._endpoint.http_session  # type: ignore[attr-defined] # no public way
    pools = {"http": _Pool, "https": _SecurePool}
    # Read by the manager whenever it makes a pool, and by the session for further managers. Both
    # exist already: under another name in a later botocore, this must fail instead of guarding
    # nothing.
    for owner, name in ((session, "_pool_classes_by_scheme"), (session._manager, _BY_SCHEME)):
        assert getattr(owner, name).keys() == pools.keys()
        setattr(owner, name, pools)
    client.meta.events.register_first("needs-retry.s3", _give_up_at_once)


_BY_SCHEME = "pool_classes_by_scheme"


def _checked(connected: socket.socket) -> socket.socket:
    address = connected.getpeername()[0]
    if not may_reach(address):
        connected.close()
        raise EndpointNotAllowed(
            f"The storage's endpoint leads to {address}, which no storage may be."
        )
    return connected


class _Connection(AWSHTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


class _SecureConnection(AWSHTTPSConnection):
    # Called before the TLS handshake: not even the host's name is sent.
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(AWSHTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _give_up_at_once(caught_exception: Exception | None = None, **_: object) -> None:
    """Raise what the check raised: botocore wraps it, and would try again."""
    refused = getattr(caught_exception, "kwargs", {}).get("error")
    if isinstance(refused, EndpointNotAllowed):
        raise refused
