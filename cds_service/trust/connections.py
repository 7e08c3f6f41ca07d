"""Did this connection reach an address it may reach?

A name on a client's list can be made to point at another machine (DNS rebinding).  So the check
is made on the connection itself, after the name was looked up and before the first byte is sent.
Through an outbound proxy the peer is the proxy, which then has to make this check.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import urlsplit

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig, port_by_scheme
from urllib3.exceptions import NewConnectionError
from urllib3.util import parse_url
from urllib3.util.ssl_ import create_urllib3_context

from cds_service.trust.addresses import (
    AddressRefusedError,
    FhirAddressRules,
    refuse_private_address,
)


class FhirSite(FhirAddressRules, Protocol):
    """What of a client profile decides how its FHIR server is reached."""

    @property
    def outbound_proxy(self) -> str | None:
        """The proxy to use; the environment never decides."""

    @property
    def ca_file(self) -> object:
        """The file of a private certificate authority, or None."""


class PeerRefusedError(NewConnectionError):
    """The connection reached an address that its base must not lead to."""


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


class Connector:
    """Makes connections to the server of one base; each connects when it is first used.

    A refused address is a :class:`PeerRefusedError` then.  Nothing of the environment has a say:
    no proxy and no certificate authority.
    """

    def __init__(self, client: FhirSite, *, base: str) -> None:
        """Connect as *client* says; nothing is read or opened yet."""
        self._server = urlsplit(base)
        self._ca_file = str(client.ca_file or certifi.where())
        self._proxy = None if client.outbound_proxy is None else parse_url(client.outbound_proxy)
        kind = HTTPSConnection if self._server.scheme == "https" else HTTPConnection
        self._kind: Any = kind if self._proxy else _guarded(kind, client, base)

    def __call__(self) -> HTTPConnection:
        """Return a new connection.

        Raises:
            OSError: The certificate authorities cannot be read.
        """
        server, proxy = self._server, self._proxy
        connection: HTTPConnection
        trusted: dict[str, Any] = {}
        if server.scheme == "https":
            trusted["ssl_context"] = self._trusted
        if proxy is None:
            connection = self._kind(server.hostname, server.port, **trusted)
            return connection
        connection = self._kind(
            proxy.host,
            proxy.port or port_by_scheme[str(proxy.scheme)],
            proxy=proxy,
            proxy_config=ProxyConfig(self._trusted, False, None, None),  # noqa: FBT003 - urllib3's
            **trusted,
        )
        connection.set_tunnel(str(server.hostname), server.port, scheme=str(proxy.scheme))
        return connection

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        """Who vouches for certificates; to read that takes 15 ms, so it is read once."""
        context = create_urllib3_context()
        context.load_verify_locations(self._ca_file)
        return context


def _guarded(kind: Any, client: FhirSite, base: str) -> Any:  # noqa: ANN401 - classes of urllib3
    """Return *kind* of connection, with the address checked once it stands."""

    class _Guarded(kind):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            connected: socket.socket = super()._new_conn()
            try:
                refuse_private_peer(connected, client, base=base)
            except AddressRefusedError as error:
                connected.close()
                raise PeerRefusedError(self, "the address is refused") from error
            return connected

    return _Guarded
