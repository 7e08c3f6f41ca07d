"""Which keys of a key set are used, and why the others are not."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from cds_service.trust.keys import parse_key_set
from tests.trust.conftest import key_set, public_jwk


def test_key_set_gives_each_key_the_algorithms_of_its_type(
    ec_key: ec.EllipticCurvePrivateKey, rsa_key: rsa.RSAPrivateKey
) -> None:
    """The curve decides for elliptic keys; an RSA key may verify all six, or its own alg only."""
    found = key_set(
        public_jwk(ec_key, "p384"),
        public_jwk(rsa_key, "rsa"),
        public_jwk(rsa_key, "rs384", alg="RS384", use="sig"),
        public_jwk(ed25519.Ed25519PrivateKey.generate(), "ed"),
        public_jwk(ec.generate_private_key(ec.SECP256R1()), "p256", key_ops=["verify"]),
    )
    assert found.faults == ()
    algorithms = {kid: set(key.algorithms) for kid, key in found.keys.items()}
    assert algorithms == {
        "p384": {"ES384"},
        "rsa": {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
        "rs384": {"RS384"},
        "ed": {"EdDSA"},
        "p256": {"ES256"},
    }


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"use": "enc"}, "not meant for verifying"),
        ({"key_ops": ["encrypt"]}, "not meant for verifying"),
        ({"key_ops": "verify"}, "not meant for verifying"),
        ({"kid": None}, "needs a 'kid'"),
        ({"kid": ""}, "needs a 'kid'"),
        ({"kid": 5}, "needs a 'kid'"),
        ({"d": "AAAA"}, "secret key"),
        ({"kty": "oct", "k": "AAAA"}, "secret key"),
        ({"kty": "RSA"}, "cannot be read"),
        ({"kty": "OKP"}, "curve"),
        ({"kty": "XYZ"}, "type"),
        ({"kty": ["EC"]}, "type"),
        ({"crv": "secp256k1"}, "curve"),
        ({"crv": None}, "curve"),
        ({"crv": "Ed25519"}, "curve"),
        ({"alg": "ES256"}, "'alg' does not fit"),
        ({"alg": "RS384"}, "'alg' does not fit"),
        ({"alg": "HS384"}, "'alg' does not fit"),
        ({"alg": ["ES384"]}, "'alg' does not fit"),
        ({"x": "AAAA"}, "cannot be read"),
        ({"x": None}, "cannot be read"),
        ({"y": 5}, "cannot be read"),
    ],
)
def test_unfit_key_is_left_out_and_why_is_said(
    ec_key: ec.EllipticCurvePrivateKey, changed: dict[str, object], why: str
) -> None:
    """A key that is secret, weak, for encryption or at odds with itself verifies nothing."""
    found = key_set({**public_jwk(ec_key, "key"), **changed})
    assert not found.keys
    assert why in found.faults[0]


@pytest.mark.parametrize("bits", [1024, 2040])
def test_short_rsa_key_is_left_out(bits: int) -> None:
    """RSA below 2048 bits is refused; 2048 itself is used elsewhere in these tests."""
    short = rsa.generate_private_key(65537, bits)
    assert key_set(public_jwk(short, "short")).faults == (
        "keys[0]: an RSA key must have 2048 to 8192 bits",
    )


def test_repeated_kid_leaves_out_both_keys(
    ec_key: ec.EllipticCurvePrivateKey, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Two keys with one kid are ambiguous, so neither is used and the others are."""
    found = key_set(
        public_jwk(ec_key, "same"), public_jwk(rsa_key, "same"), public_jwk(ec_key, "own")
    )
    assert set(found.keys) == {"own"}
    assert len(found.faults) == 1


@pytest.mark.parametrize(
    "document", [None, [], {}, {"keys": None}, {"keys": "abc"}, {"keys": {}}, {"keys": [{}] * 101}]
)
def test_document_that_is_no_key_set_is_refused(document: object) -> None:
    """An HTML page, a list or a set of too many keys is not taken for an empty key set."""
    with pytest.raises(ValueError, match=r"key set|Key Set|more than"):
        parse_key_set(document)


@given(
    st.fixed_dictionaries(
        {"kid": st.text()},
        optional={
            "kty": st.sampled_from(["EC", "RSA", "OKP", "oct", 7]),
            "crv": st.sampled_from(["P-256", "P-384", "Ed25519", "X25519", None]),
            **{name: st.text() | st.integers() | st.none() for name in ("x", "y", "n", "e", "alg")},
        },
    )
)
def test_any_odd_key_is_left_out_without_an_error(member: dict[str, object]) -> None:
    """A server that sends nonsense as one key does not stop us from reading the others."""
    assert not parse_key_set({"keys": [member]}).keys
