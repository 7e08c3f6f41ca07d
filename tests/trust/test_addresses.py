"""Which URLs are base URLs, which are on a client's list, and which addresses are refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.trust.addresses import (
    AddressRefusedError,
    allowed_base,
    is_loopback_url,
    normalise_base,
    refuse_private_address,
)
from cds_service.trust.profile import ClientProfile, dev_profile

LISTED = "https://ehr.example.org/fhir"
CLIENT = ClientProfile(
    id="hospital",
    fhir_bases=(LISTED, "https://inside.example.org/r4", "https://[2001:db8::1]/fhir"),
    private_fhir_bases=("https://inside.example.org/r4",),
)

HOSTILE = """
http://ehr.example.org/fhir
https://ehr.example.org/fhirx
https://ehr.example.org/fhir/../admin
https://ehr.example.org/fhir/./
https://ehr.example.org//fhir
https://ehr.example.org/fhir//
https://ehr.example.org/fhir%2e
https://ehr.example.org/%66hir
https://ehr.example.org/fhir/%2e%2e/admin
https://ehr.example.org/FHIR
https://ehr.example.org/fhir?x=1
https://ehr.example.org/fhir?
https://ehr.example.org/fhir#x
https://ehr.example.org/fhir;x
https://ehr.example.org:8443/fhir
https://ehr.example.org:/fhir
https://ehr.example.org:443x/fhir
https://ehr.example.org:99999/fhir
https://ehr.example.org:-1/fhir
https://ehr.example.org./fhir
https://ehr.example.org.evil.com/fhir
https://evil.com/ehr.example.org/fhir
https://ehr.example.org@evil.com/fhir
https://user:secret@ehr.example.org/fhir
https://ehr.example.org%40evil.com/fhir
https://ehr.example.org\\@evil.com/fhir
https:\\\\ehr.example.org\\fhir
https:/ehr.example.org/fhir
https:ehr.example.org/fhir
//ehr.example.org/fhir
ehr.example.org/fhir
file:///etc/passwd
ftp://ehr.example.org/fhir
gopher://ehr.example.org/fhir
javascript:alert(1)
https://\u0435hr.example.org/fhir
https://ehr。example.org/fhir
https://ehr.example.org/fhir\u0000
https://169.254.169.254/latest/meta-data
http://169.254.169.254/latest/meta-data
https://metadata.google.internal/computeMetadata/v1
https://127.0.0.1/fhir
http://127.0.0.1/fhir
http://localhost/fhir
https://127.1/fhir
https://2130706433/fhir
https://0x7f000001/fhir
https://0x7f.0.0.1/fhir
https://0177.0.0.1/fhir
https://127.0.0.01/fhir
https://0/fhir
https://[::1]/fhir
https://[::ffff:127.0.0.1]/fhir
https://[::ffff:a9fe:a9fe]/fhir
https://[fe80::1%25eth0]/fhir
https://[fd00:ec2::254]/fhir
https://[2001:db8::2]/fhir
https://[2001:db8::1/fhir
https://2001:db8::1/fhir
https://[v1.x]/fhir
https://10.0.0.1/fhir
https://-ehr.example.org/fhir
https://ehr..example.org/fhir
https://
https:///fhir
""".strip().splitlines()


@pytest.mark.parametrize("url", [*HOSTILE, "", " " + LISTED, LISTED + "\r\nX: y", LISTED + "\t"])
def test_hostile_fhir_server_is_refused(url: str) -> None:
    """No spelling leads a token away from the listed base; the refusal repeats no URL."""
    with pytest.raises(AddressRefusedError) as caught:
        allowed_base(url, CLIENT)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        (LISTED, LISTED),
        (LISTED + "/", LISTED),
        ("HTTPS://EHR.Example.ORG:443/fhir/", LISTED),
        ("https://[2001:0db8:0:0::1]/fhir", "https://[2001:db8::1]/fhir"),
    ],
)
def test_other_spelling_of_a_listed_base_is_accepted(url: str, base: str) -> None:
    """Case of the host, the default port and a slash at the end do not matter."""
    assert allowed_base(url, CLIENT) == base


def test_development_calls_any_fhir_server_of_this_machine_and_no_other() -> None:
    """With --dev the FHIR server may be plain http on loopback; another must be named."""
    dev = dev_profile(fhir_bases=("https://r4.example.org/fhir/",))
    for url in ("http://localhost:8090/fhir", "http://127.0.0.1:1", "http://[::1]:8080/x"):
        assert allowed_base(url, dev) == url
    assert allowed_base("https://r4.example.org/fhir", dev) == "https://r4.example.org/fhir"
    for url in (
        "http://10.0.0.1/fhir",
        "http://localhost.evil.com/fhir",
        "http://127.0.0.1.evil.com",
    ):
        with pytest.raises(AddressRefusedError):
            allowed_base(url, dev)


@given(st.text(max_size=60) | st.text(max_size=40).map("https://".__add__))
def test_normalising_twice_changes_nothing(url: str) -> None:
    """Any text is either refused or brought to one form."""
    try:
        base = normalise_base(url)
    except AddressRefusedError:
        return
    assert normalise_base(base) == base
    assert base.startswith(("https://", "http://"))


PRIVATE = [
    "10.0.0.1",
    "172.16.5.5",
    "192.168.1.1",
    "100.64.0.1",
    "127.0.0.1",
    "198.18.0.1",
    "::1",
    "fc00::1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "::ffff:127.0.0.1",
]
NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fd00:ec2::254",
    "ff02::1",
    "::",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", [*PRIVATE, *NEVER])
def test_private_address_of_a_public_base_is_refused(address: str) -> None:
    """A listed name that was made to point inside the hospital is not called."""
    with pytest.raises(AddressRefusedError):
        refuse_private_address(ipaddress.ip_address(address), base=LISTED, client=CLIENT)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_of_a_base_listed_as_private_is_accepted(address: str) -> None:
    """The operator may say that a FHIR server is inside."""
    refuse_private_address(
        ipaddress.ip_address(address), base="https://inside.example.org/r4", client=CLIENT
    )


@pytest.mark.parametrize("address", NEVER)
def test_metadata_address_is_refused_even_for_a_private_base(address: str) -> None:
    """Nobody's FHIR server lives at a link-local, metadata or multicast address."""
    with pytest.raises(AddressRefusedError):
        refuse_private_address(
            ipaddress.ip_address(address), base="https://inside.example.org/r4", client=CLIENT
        )


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_public_address_is_accepted(address: str) -> None:
    """An ordinary FHIR server on the internet is called."""
    refuse_private_address(ipaddress.ip_address(address), base=LISTED, client=CLIENT)


def test_loopback_url_must_lead_to_this_machine() -> None:
    """The name localhost pointing elsewhere is not called."""
    dev = dev_profile()
    base = "http://localhost:8090/fhir"
    refuse_private_address(ipaddress.ip_address("127.0.0.1"), base=base, client=dev)
    for elsewhere in ("10.0.0.1", "93.184.216.34"):
        with pytest.raises(AddressRefusedError):
            refuse_private_address(ipaddress.ip_address(elsewhere), base=base, client=dev)


def test_loopback_is_recognised_by_name_and_address() -> None:
    """Only this machine counts as loopback."""
    assert is_loopback_url("http://127.0.0.2:80")
    assert is_loopback_url("http://[::1]/")
    assert not is_loopback_url("http://localhost.example")
    assert not is_loopback_url("http://126.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "1.2.3.256",
        "a.0x1",
        "[::g]",
        ".".join(["a" * 50] * 5),
        "a.example/" + "a" * 2048,
    ],
)
def test_address_in_an_odd_spelling_is_no_base_url(host: str) -> None:
    """Decimal, octal, hexadecimal, shortened and endless ones are refused, whatever is listed."""
    with pytest.raises(AddressRefusedError):
        normalise_base(f"https://{host}/fhir")
