"""Which FHIR server may be called for a client, and may this connection be used?

A URL in a request is never called because the request says so: it must equal a base URL on the
client's own list.  Nothing here opens a connection; :mod:`cds_service.trust.connections` checks
the address a connection really reached.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from cds_service.errors import CdsError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST_URL = 2048
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9:/.\-_~\[\]+,=()!*']+\Z")
"""Of a base URL: no blank, control, backslash, percent sign, userinfo, query or fragment."""
_HOST_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMBER_LABEL = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NEVER_CALLED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "100.100.100.200/32",  # metadata of Alibaba Cloud
        "168.63.129.16/32",  # platform address of Azure
        "169.254.0.0/16",  # link-local, metadata of most clouds
        "192.0.0.0/24",  # protocol assignments, metadata of Oracle Cloud
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/128",
        "fd00:ec2::/32",  # metadata of Amazon
        "fd20:ce::254/128",  # metadata of Google Cloud
        "fe80::/10",  # link-local
        "ff00::/8",  # multicast
    )
)
"""Addresses no FHIR server has; they are refused even for a base listed as private."""
_EMBEDDED_IPV4 = ipaddress.ip_network("64:ff9b::/96")


class AddressRefusedError(CdsError):
    """A URL or a network address may not be used; the text never repeats it."""


class FhirAddressRules(Protocol):
    """What a client profile says about FHIR servers."""

    @property
    def fhir_bases(self) -> tuple[str, ...]:
        """The listed base URLs, normalised."""

    @property
    def private_fhir_bases(self) -> tuple[str, ...]:
        """The listed base URLs that may have a private address, normalised."""

    @property
    def allows_unlisted_loopback_fhir(self) -> bool:
        """Whether any FHIR server on this machine may be called (``--dev`` only)."""


def normalise_base(url: str) -> str:
    """Return *url* in the one form in which base URLs are compared.

    Scheme and host are lower case, a default port and a slash at the end are gone.  Anything two
    programs could read differently is refused instead of repaired.

    Raises:
        AddressRefusedError: *url* is not a plain http or https base URL.
    """
    if len(url) > _LONGEST_URL or not _URL_CHARACTERS.match(url):
        raise AddressRefusedError("it is not a plain URL without user name, query or fragment")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefusedError("its host or port cannot be read") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise AddressRefusedError("it must begin with https://")
    host = _normalised_host(parts)
    port_text = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{port_text}{_checked_path(parts.path)}"


def _normalised_host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if parts.netloc.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host).compressed}]"
        except ValueError as error:
            raise AddressRefusedError("its IPv6 address cannot be read") from error
    if ":" in host or "[" in parts.netloc or parts.netloc.endswith(":"):
        raise AddressRefusedError("its host or port cannot be read")
    labels = host.split(".")
    if _NUMBER_LABEL.match(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as error:
            raise AddressRefusedError("its address is not written as four numbers") from error
    if len(host) > 253 or not all(_HOST_LABEL.match(label) for label in labels):  # noqa: PLR2004 - the longest name DNS allows
        raise AddressRefusedError("its host name cannot be read")
    return host


def _checked_path(path: str) -> str:
    trimmed = path.removesuffix("/")
    if any(part in {"", ".", ".."} for part in trimmed.split("/")[1:]):
        raise AddressRefusedError("its path has empty or dotted parts")
    return trimmed


def is_loopback_url(url: str) -> bool:
    """Whether the host of a normalised *url* is this machine, by name or by address."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return _plain_address(ipaddress.ip_address(host)).is_loopback
    except ValueError:
        return False


def allowed_base(fhir_server: str, client: FhirAddressRules) -> str:
    """Return the base URL to call for *fhir_server*, if *client* lists exactly this base.

    Raises:
        AddressRefusedError: The base is not readable, or not on the client's list.
    """
    base = normalise_base(fhir_server)
    if base in client.fhir_bases:
        return base
    if client.allows_unlisted_loopback_fhir and is_loopback_url(base):
        return base
    raise AddressRefusedError("it is not on this client's list of FHIR servers")


def refuse_private_address(address: IpAddress, *, base: str, client: FhirAddressRules) -> None:
    """Refuse a network *address* that a connection to *base* must not have reached.

    Raises:
        AddressRefusedError: The address is private and *base* is not listed as private, or it is
            one where no FHIR server lives (link-local, metadata, multicast).
    """
    plain = _plain_address(address)
    if any(plain in network for network in _NEVER_CALLED if network.version == plain.version):
        raise AddressRefusedError("the address is link-local, a metadata service or multicast")
    if is_loopback_url(base):
        if plain.is_loopback:
            return
        raise AddressRefusedError("a loopback URL did not lead to this machine")
    if not plain.is_global and base not in client.private_fhir_bases:
        raise AddressRefusedError("the address is private and the base is not listed as private")


def _plain_address(address: IpAddress) -> IpAddress:
    """Return the IPv4 address hidden in an IPv6 address, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _EMBEDDED_IPV4:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo is not None else None
    return address.ipv4_mapped or address.sixtofour or teredo or address
