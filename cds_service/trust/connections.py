"""Did this connection reach an address it may reach?

A name on a client's list can be made to point at another machine (DNS rebinding).  So the check
is made on the connection itself, after the name was looked up and before the first byte is sent.
Through an outbound proxy the peer is the proxy, which then has to make this check.
"""

from __future__ import annotations

import ipaddress
import socket

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from cds_service.trust.addresses import (
    AddressRefusedError,
    FhirAddressRules,
    refuse_private_address,
)


def refuse_private_peer(peer: socket.socket | str, client: FhirAddressRules, *, base: str) -> None:
    """Refuse a connected socket, or an address in text, that *base* must not lead to.

    Raises:
        AddressRefusedError: See :func:`cds_service.trust.addresses.refuse_private_address`.
    """
    try:
        text = peer if isinstance(peer, str) else str(peer.getpeername()[0])
        address = ipaddress.ip_address(text.partition("%")[0])
    except (OSError, ValueError) as error:
        raise AddressRefusedError("the address of the connection cannot be read") from error
    refuse_private_address(address, base=base, client=client)


def guarded_adapter(client: FhirAddressRules, *, base: str, connections: int = 32) -> HTTPAdapter:
    """Return a ``requests`` adapter whose connections are checked before they are used.

    A refused connection reaches the caller as :class:`requests.exceptions.ConnectionError`.  Mount
    it for both schemes on a Session of this client and *base* only.
    """

    class _GuardedHttp(HTTPConnection):
        def _new_conn(self) -> socket.socket:  # type: ignore[explicit-override]  # needs 3.12
            return _checked(super()._new_conn(), self)

    class _GuardedHttps(HTTPSConnection):
        def _new_conn(self) -> socket.socket:  # type: ignore[explicit-override]  # needs 3.12
            return _checked(super()._new_conn(), self)

    class _HttpPool(HTTPConnectionPool):
        ConnectionCls = _GuardedHttp

    class _HttpsPool(HTTPSConnectionPool):
        ConnectionCls = _GuardedHttps

    def _checked(connected: socket.socket, connection: HTTPConnection) -> socket.socket:
        try:
            refuse_private_peer(connected, client, base=base)
        except AddressRefusedError as error:
            connected.close()
            raise NewConnectionError(connection, "the address is refused") from error
        return connected

    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
    adapter.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return adapter
