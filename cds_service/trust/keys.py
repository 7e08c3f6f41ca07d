"""Which public keys may verify a client's tokens, and with which algorithms?

Reads JSON Web Key Sets with PyJWT.  A key that is weak, private, symmetric, meant for encryption
or ambiguous is left out, and why is kept for the operator.  Nothing here fetches anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

PublicKey = EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey

_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVE_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
ALGORITHMS = _RSA_ALGORITHMS | frozenset(_CURVE_ALGORITHMS.values())
"""Every algorithm a profile may list; all are asymmetric."""

_SHORTEST_RSA_BITS = 2048
_LONGEST_RSA_BITS = 8192
_LONGEST_KID = 512
_MOST_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One public key and the algorithms it may verify."""

    kid: str
    algorithms: frozenset[str]
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The usable keys of one key set by ``kid``; ``faults`` says in our words what was left out."""

    keys: Mapping[str, VerificationKey]
    faults: tuple[str, ...] = ()


class _UnusableKeyError(ValueError):
    """One key of a set cannot be used; the text names no part of the key."""


def parse_key_set(document: object) -> KeySet:
    """Return the usable keys of a JSON Web Key Set.

    Raises:
        ValueError: *document* is not a key set at all.
    """
    members = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(members, Sequence) or isinstance(members, str):
        raise ValueError("it is not a JSON Web Key Set: an object with a list named 'keys'")  # noqa: TRY004 - callers treat every fault alike
    if len(members) > _MOST_KEYS:
        raise ValueError(f"it has more than {_MOST_KEYS} keys")
    faults: list[str] = []
    usable: list[VerificationKey] = []
    for position, member in enumerate(members):
        try:
            usable.append(_read_key(member))
        except _UnusableKeyError as error:
            faults.append(f"keys[{position}]: {error}")
    repeated = {kid for kid, times in Counter(key.kid for key in usable).items() if times > 1}
    if repeated:
        faults.append("two keys have the same 'kid', so neither is used")
    kept = {key.kid: key for key in usable if key.kid not in repeated}
    return KeySet(keys=MappingProxyType(kept), faults=tuple(faults))


def _read_key(member: object) -> VerificationKey:
    if not isinstance(member, Mapping):
        raise _UnusableKeyError("a key must be an object")
    kid = member.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_KID:
        raise _UnusableKeyError("the key needs a 'kid', a text of 1 to 512 characters")
    if "d" in member or member.get("kty") == "oct":
        raise _UnusableKeyError("it is a secret key; only public keys belong in a key set")
    operations = member.get("key_ops", ["verify"])
    may_verify = isinstance(operations, list) and "verify" in operations
    if member.get("use", "sig") != "sig" or not may_verify:
        raise _UnusableKeyError("it is not meant for verifying signatures ('use', 'key_ops')")
    algorithms = _algorithms(member)
    public_key = _public_key(member, min(algorithms))
    return VerificationKey(kid=kid, algorithms=algorithms, public_key=public_key)


def _algorithms(member: Mapping[str, object]) -> frozenset[str]:
    """Return what the key's type allows, narrowed to its own ``alg`` if it names one."""
    match member.get("kty"):
        case "RSA":
            possible = _RSA_ALGORITHMS
        case "EC" | "OKP":
            curve = member.get("crv")
            named = _CURVE_ALGORITHMS.get(curve) if isinstance(curve, str) else None
            is_edwards = named == "EdDSA"
            if named is None or is_edwards != (member.get("kty") == "OKP"):
                raise _UnusableKeyError("its curve is not one we use")
            possible = frozenset({named})
        case _:
            raise _UnusableKeyError("its type ('kty') is not one we use")
    stated = member.get("alg")
    if stated is None:
        return possible
    if not isinstance(stated, str) or stated not in possible:
        raise _UnusableKeyError("its 'alg' does not fit its type")
    return frozenset({stated})


def _public_key(member: Mapping[str, object], algorithm: str) -> PublicKey:
    try:
        key: object = jwt.PyJWK(dict(member), algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise _UnusableKeyError("its numbers cannot be read") from error
    if isinstance(key, RSAPublicKey):
        if not _SHORTEST_RSA_BITS <= key.key_size <= _LONGEST_RSA_BITS:
            raise _UnusableKeyError("an RSA key must have 2048 to 8192 bits")
        return key
    if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey):
        return key
    raise _UnusableKeyError("it is not a public key")
