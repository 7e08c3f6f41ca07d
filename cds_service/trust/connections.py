"""Did this connection reach an address it may reach?

A name on a client's list can be made to point at another machine (DNS rebinding).  So the check
is made on the connection itself, after the name was looked up and before the first byte is sent.
Through an outbound proxy the peer is the proxy, which then has to make this check.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

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

    @property
    def max_fhir_requests(self) -> int:
        """Requests to the server at one time."""


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


def connector(client: FhirSite, *, base: str) -> Callable[[], HTTPConnection]:
    """Return what makes connections to the server of *base*; they connect when first used.

    A refused address reaches the caller as :class:`urllib3.exceptions.NewConnectionError`.
    Nothing of the environment has a say: no proxy and no certificate authority.

    Raises:
        OSError: The certificate authorities cannot be read.
    """
    server = urlsplit(base)
    kind: type[HTTPConnection] = HTTPConnection
    trusted: dict[str, Any] = {}
    if server.scheme == "https":
        kind = HTTPSConnection
        trusted = {"ssl_context": _trust(client)}
    if client.outbound_proxy is not None:
        return partial(_tunnel, kind, client.outbound_proxy, server, trusted)
    return partial(_guarded(kind, client, base), server.hostname, server.port, **trusted)


def _trust(client: FhirSite) -> ssl.SSLContext:
    """Return which certificates are believed; reading them takes 15 ms, so once for all."""
    context = create_urllib3_context()
    context.load_verify_locations(str(client.ca_file or certifi.where()))
    return context


def _tunnel(
    kind: type[HTTPConnection], proxy: str, server: SplitResult, trusted: Mapping[str, Any]
) -> HTTPConnection:
    """Return a connection to *server* through *proxy*, which sees its name and nothing else."""
    way = parse_url(proxy)
    connection = kind(
        str(way.host),
        way.port or port_by_scheme[str(way.scheme)],
        proxy=way,
        proxy_config=ProxyConfig(trusted.get("ssl_context"), False, None, None),  # noqa: FBT003 - urllib3's
        **trusted,
    )
    connection.set_tunnel(str(server.hostname), server.port, scheme=str(way.scheme))
    return connection


def _guarded(kind: Any, client: FhirSite, base: str) -> Any:  # noqa: ANN401 - classes of urllib3
    """Return *kind* of connection, with the address checked once it stands."""

    class _Guarded(kind):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            connected: socket.socket = super()._new_conn()
            try:
                refuse_private_peer(connected, client, base=base)
            except AddressRefusedError as error:
                connected.close()
                raise NewConnectionError(self, "the address is refused") from error
            return connected

    return _Guarded
