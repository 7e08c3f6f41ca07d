"""Every way a token can be wrong, one by one, and the forms that must be accepted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import responses
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.errors import UnauthorizedError
from cds_service.trust.config import Config, ServiceSettings
from cds_service.trust.profile import ClientProfile
from cds_service.trust.token import read_token
from cds_service.trust.verification import Verifier
from tests.patience import until
from tests.trust.conftest import (
    BASE,
    ENDPOINT,
    ISSUER,
    NOW,
    PATH,
    Ehr,
    Service,
    base64url,
    key_set,
    public_jwk,
)

FEEDBACK = PATH + "/feedback"


def refusal(service: Service, header: str | None, audiences: tuple[str, ...] = (PATH,)) -> str:
    """Return why *header* is refused; being accepted fails the test."""
    with pytest.raises(UnauthorizedError) as caught:
        service.accepts(header, audiences)
    return caught.value.reason


def test_token_of_a_known_ehr_is_accepted(service: Service, ehr: Ehr) -> None:
    """A good token yields the client's profile; its kid may hold base64 characters."""
    assert service.accepts(ehr.sign()).id == "hospital"


def test_token_that_was_read_is_in_no_printed_form(ehr: Ehr) -> None:
    """An error report that prints what it finds repeats nothing of a token."""
    token = read_token(ehr.sign())
    assert token.claims["iss"] == ISSUER
    assert repr(token) == "UnverifiedToken()"


CLAIM_FAULTS = {
    "iss missing": {"iss": None},
    "iss of nobody we know": {"iss": "https://other.example"},
    "iss with a slash more": {"iss": ISSUER + "/"},
    "iss as a list": {"iss": [ISSUER]},
    "aud missing": {"aud": None},
    "aud of another endpoint": {"aud": BASE + "/cds-services"},
    "aud of another host": {"aud": "https://other.example" + PATH},
    "aud a prefix of ours": {"aud": BASE},
    "aud with two slashes more": {"aud": ENDPOINT + "//"},
    "aud list empty": {"aud": []},
    "aud list with another service": {"aud": [ENDPOINT, "https://other.example/x"]},
    "aud list with a number": {"aud": [ENDPOINT, 1]},
    "aud as an object": {"aud": {"url": ENDPOINT}},
    "exp missing": {"exp": None},
    "exp past": {"exp": NOW - 51, "iat": NOW - 200},
    "exp as a text": {"exp": str(NOW + 300)},
    "exp true": {"exp": True},
    "exp a list": {"exp": [NOW + 300]},
    "exp before iat": {"exp": NOW - 1},
    "no life at all": {"exp": NOW},
    "exp negative": {"exp": -1},
    "exp without end": {"exp": 10**30},
    "iat missing": {"iat": None},
    "iat in the future": {"iat": NOW + 71, "exp": NOW + 300},
    "iat as a text": {"iat": str(NOW)},
    "lifetime over the limit": {"exp": NOW + 901},
    "ten years of life": {"exp": NOW + 315_360_000},
    "iat a day old": {"iat": NOW - 86_400},
    "nbf in the future": {"nbf": NOW + 71},
    "nbf as a text": {"nbf": str(NOW)},
    "nbf true": {"nbf": True},
    "jti missing": {"jti": None},
    "jti empty": {"jti": ""},
    "jti of 257 characters": {"jti": "j" * 257},
    "jti as a number": {"jti": 7},
}


@pytest.mark.parametrize("changed", CLAIM_FAULTS.values(), ids=CLAIM_FAULTS.keys())
def test_token_with_a_wrong_claim_is_refused(
    service: Service, ehr: Ehr, changed: dict[str, object]
) -> None:
    """One wrong claim is enough, however good the signature; the reason names no value."""
    reason = refusal(service, ehr.sign(**changed))
    assert "https://" not in reason
    assert str(NOW)[:6] not in reason


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": NOW - 50, "iat": NOW - 200},
        {"iat": NOW + 70},
        {"nbf": NOW + 70},
        {"exp": NOW + 900},
        {"exp": NOW + 300.5, "iat": NOW + 0.5},
        {"jti": "j" * 256},
        {"aud": [ENDPOINT]},
    ],
)
def test_token_at_the_last_accepted_value_is_accepted(
    service: Service, ehr: Ehr, changed: dict[str, object]
) -> None:
    """The clock may be off by exactly the skew, and a token may live exactly the longest time."""
    assert service.accepts(ehr.sign(**changed)).id == "hospital"


HEADER_FAULTS = {
    "alg missing": {"alg": None},
    "alg none": {"alg": "none"},
    "alg NoNe": {"alg": "NoNe"},
    "alg not on the list": {"alg": "ES256"},
    "alg as a list": {"alg": ["ES384"]},
    "typ missing": {"typ": None},
    "typ at+jwt": {"typ": "at+jwt"},
    "kid missing": {"kid": None},
    "kid unknown": {"kid": "other"},
    "kid a number": {"kid": 1},
    "kid empty": {"kid": ""},
    "crit": {"crit": ["exp"]},
    "crit empty": {"crit": []},
    "b64 false": {"b64": False, "crit": ["b64"]},
    "jku of an attacker": {"jku": "https://attacker.example/jwks.json"},
    "jku a list": {"jku": ["https://attacker.example/jwks.json"]},
    "x5u": {"x5u": "https://attacker.example/cert.pem"},
    "x5c": {"x5c": ["MIIB"]},
    "zip": {"zip": "DEF"},
    "cty of a nested token": {"cty": "JWT"},
}


@pytest.mark.parametrize("changed", HEADER_FAULTS.values(), ids=HEADER_FAULTS.keys())
def test_token_with_a_wrong_header_is_refused_without_any_call(
    service: Service, ehr: Ehr, changed: dict[str, object]
) -> None:
    """A header cannot choose the key, the algorithm or a URL we call."""
    members = {**ehr.header(), **changed}
    header = {name: value for name, value in members.items() if value is not None}
    with responses.RequestsMock() as no_call_at_all:
        refusal(service, ehr.sign(header=header))
        assert len(no_call_at_all.calls) == 0


def test_token_that_brings_its_own_key_is_refused(service: Service) -> None:
    """A token signed by the key in its own header proves nothing."""
    attacker = Ehr(ec.generate_private_key(ec.SECP384R1()))
    header = {**attacker.header(), "jwk": public_jwk(attacker.key, attacker.kid)}
    assert "jwk" in refusal(service, attacker.sign(header=header))


def test_token_signed_by_another_key_is_refused(service: Service) -> None:
    """The right kid does not make another key right."""
    attacker = Ehr(ec.generate_private_key(ec.SECP384R1()))
    assert refusal(service, attacker.sign()) == "the signature is not good"


def test_ehr_that_renews_its_key_under_the_same_kid_is_not_locked_out(
    service: Service, ehr: Ehr
) -> None:
    """Its first token is refused and makes the service look again; soon the next is accepted."""
    url = "https://ehr.hospital.example/jwks.json"
    verifier = service.knows(jwks=None, jwks_url=url).verifier()
    renewed = replace(ehr, key=ec.generate_private_key(ec.SECP384R1()), issued=100)

    def is_accepted() -> bool:
        with suppress(UnauthorizedError):
            verifier.authenticate(renewed.sign(), (PATH,))
            return True
        return False

    with responses.RequestsMock(assert_all_requests_are_fired=False) as server:
        server.get(url, json={"keys": [public_jwk(ehr.key, ehr.kid)]})
        verifier.authenticate(ehr.sign(), (PATH,))
        server.replace(responses.GET, url, json={"keys": [public_jwk(renewed.key, ehr.kid)]})
        assert not is_accepted()
        assert until(is_accepted, seconds=10)
        with pytest.raises(UnauthorizedError):
            verifier.authenticate(ehr.sign(), (PATH,))


def test_token_of_one_client_signed_by_another_clients_key_is_refused(
    service: Service, ehr: Ehr, make_rsa_ehr: Callable[[], Ehr]
) -> None:
    """Keys belong to one client; another known client cannot speak for it."""
    other = make_rsa_ehr()
    profile = ClientProfile(
        id="other",
        issuers=("https://other.example",),
        jwks=key_set(public_jwk(other.key, other.kid)),
    )
    verifier = service.verifier(profile)
    with pytest.raises(UnauthorizedError):
        verifier.authenticate(other.sign(), (PATH,))
    assert verifier.authenticate(ehr.sign(), (PATH,)).id == "hospital"
    own = other.sign(iss="https://other.example")
    assert verifier.authenticate(own, (PATH,)).id == "other"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_token_with_the_public_key_as_shared_secret_is_refused(
    service: Service, ehr: Ehr, algorithm: str
) -> None:
    """Algorithm confusion: everybody knows the public key."""
    pem = ehr.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = json.dumps({**ehr.header(), "alg": algorithm}).encode()
    signing_input = f"{base64url(header)}.{base64url(json.dumps(ehr.claims()).encode())}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    signature = base64url(hmac.new(pem, signing_input.encode(), digest).digest())
    service.knows(algorithms=("ES384", algorithm))
    refusal(service, f"Bearer {signing_input}.{signature}")


def test_token_with_an_algorithm_of_another_key_type_is_refused(service: Service, ehr: Ehr) -> None:
    """RS384 with the kid of an elliptic curve key does not fit the key's record."""
    header = {**ehr.header(), "alg": "RS384"}
    assert refusal(service, ehr.sign(header=header)) == "alg does not fit the key"


def test_token_with_a_signature_of_zeros_is_refused(service: Service, ehr: Ehr) -> None:
    """The signature r = s = 0 is not good for every message."""
    signing_input = ehr.sign().rsplit(".", 1)[0]
    refusal(service, f"{signing_input}.{base64url(bytes(96))}")


def test_token_changed_after_signing_is_refused(service: Service, ehr: Ehr) -> None:
    """Payload and signature belong together."""
    first, second = ehr.sign().split("."), ehr.sign().split(".")
    refusal(service, ".".join([first[0], second[1], first[2]]))


@pytest.mark.parametrize(
    "form",
    [
        "",
        "Bearer",
        "Bearer ",
        "{0}",
        "Basic {0}",
        "Bearer {0},Bearer {0}",
        "Bearer {0}, {0}",
        "Bearer {0} {0}",
        "Bearer {0}.{0}",
        "Bearer {0}=",
        "Bearer  {0}\n",
        "Bearer\t{0}",
        " Bearer {0}",
        "Bearer {0}" + "A" * 8192,
        "Bearer a.b.c",
        "Bearer ...",
    ],
)
def test_authorization_header_of_another_form_is_refused(
    service: Service, ehr: Ehr, form: str
) -> None:
    """There is one Bearer token of three parts; a header that is sent twice has two."""
    refusal(service, form.format(ehr.sign().removeprefix("Bearer ")))


def test_missing_authorization_header_is_refused(service: Service) -> None:
    """Nobody comes in without a token."""
    assert refusal(service, None) == "no Authorization header"


def test_scheme_may_be_written_in_any_case(service: Service, ehr: Ehr) -> None:
    """HTTP compares the scheme without case."""
    assert service.accepts(ehr.sign().replace("Bearer", "bEARER")).id == "hospital"


@pytest.mark.parametrize(
    "payload",
    [
        "[]",
        '"text"',
        "null",
        "{",
        "",
        "\ufeff{}",
        '{"iss": NaN}',
        "[" * 4000,
        '{"a":' * 1000 + "1" + "}" * 1000,
        '{"iat": ' + "9" * 5000 + "}",
    ],
)
def test_payload_that_is_not_a_json_object_is_refused(
    service: Service, ehr: Ehr, payload: str
) -> None:
    """Lists, cut and deeply nested JSON are refused, even with a good signature."""
    refusal(service, ehr.sign(claims=payload))


def test_repeated_name_is_refused(service: Service, ehr: Ehr) -> None:
    """Two programs could read two different issuers, or two different algorithms."""
    claims = json.dumps(ehr.claims())
    twice = claims[:-1] + f', "iss": {json.dumps(ISSUER)}}}'
    assert "repeats a name" in refusal(service, ehr.sign(claims=twice))
    header = json.dumps(ehr.header())[:-1] + ', "alg": "ES384"}'
    assert "repeats a name" in refusal(service, ehr.sign(header=header))


def test_nested_token_is_refused(service: Service, ehr: Ehr) -> None:
    """A token whose payload is another good token is not a good token."""
    inner = ehr.sign().removeprefix("Bearer ")
    refusal(service, ehr.sign(claims=inner))


def test_token_used_twice_is_refused_the_second_time(service: Service, ehr: Ehr) -> None:
    """A replayed token is refused, by the same process and after a restart."""
    header = ehr.sign()
    verifier = service.verifier()
    verifier.authenticate(header, (PATH,))
    with pytest.raises(UnauthorizedError, match="unauthorized"):
        verifier.authenticate(header, (PATH,))
    assert refusal(service, header) == "the token was used before"


def test_twin_signature_does_not_make_a_token_new(service: Service, ehr: Ehr) -> None:
    """An ECDSA signature (r, s) has the twin (r, n - s); the replay store does not look at it."""
    order = int(
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        16,
    )
    header = ehr.sign()
    signing_input, _, signature = header.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    twin = raw[:48] + (order - int.from_bytes(raw[48:], "big")).to_bytes(48, "big")
    service.accepts(header)
    twin_header = f"{signing_input}.{base64url(twin)}"
    assert refusal(service, twin_header) == "the token was used before"


def test_signature_written_in_another_way_is_refused(
    service: Service, make_rsa_ehr: Callable[[], Ehr]
) -> None:
    """The last letter of base64url may have spare bits; only one way to fill them is right."""
    rsa_ehr = make_rsa_ehr()
    service.knows(jwks=key_set(public_jwk(rsa_ehr.key, rsa_ehr.kid)))
    header = rsa_ehr.sign()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = header[:-1] + letters[letters.index(header[-1]) + 1]
    assert refusal(service, twin) == "a part of the token is not base64url"


def test_refused_token_is_not_used_up(service: Service, ehr: Ehr) -> None:
    """A token with a bad signature cannot spend the jti of a good one."""
    claims = ehr.claims()
    attacker = Ehr(ec.generate_private_key(ec.SECP384R1()))
    refusal(service, attacker.sign(claims=claims))
    refusal(service, ehr.sign(claims={**claims, "aud": "https://other.example"}))
    assert service.accepts(ehr.sign(claims=claims)).id == "hospital"


def test_jti_with_a_lone_surrogate_is_one_jti(service: Service, ehr: Ehr) -> None:
    """Any text is a jti, even one that cannot be written as UTF-8."""
    claims = json.dumps(ehr.claims()).replace("token-1", "\\ud800")
    service.accepts(ehr.sign(claims=claims))
    assert refusal(service, ehr.sign(claims=claims)) == "the token was used before"


def test_feedback_token_may_name_the_feedback_or_the_service_url(
    service: Service, ehr: Ehr
) -> None:
    """For feedback both audiences are ours; for a call the feedback URL is not."""
    both = (FEEDBACK, PATH)
    service.accepts(ehr.sign(aud=ENDPOINT + "/feedback"), both)
    service.accepts(ehr.sign(aud=ENDPOINT), both)
    service.accepts(ehr.sign(aud=[ENDPOINT, ENDPOINT + "/feedback"]), both)
    refusal(service, ehr.sign(aud=ENDPOINT + "/feedback"), (PATH,))


def test_audience_may_end_with_a_slash(service: Service, ehr: Ehr) -> None:
    """We answer on both addresses, so an EHR may have been given either."""
    service.accepts(ehr.sign(aud=ENDPOINT + "/"))
    service.accepts(ehr.sign(aud=[ENDPOINT + "/", ENDPOINT]))
    assert refusal(service, ehr.sign(aud=ENDPOINT + "/feedback/")) == "aud is not this endpoint"
    assert refusal(service, ehr.sign(aud=[ENDPOINT + "/", "https://other.example/"])) == (
        "aud names another service too"
    )


def test_audience_may_name_several_endpoints_of_ours(service: Service, ehr: Ehr) -> None:
    """Every member is ours, so no waiver is needed; one must be the endpoint that is called."""
    feedback = f"{PATH}/feedback"
    config = Config(service=ServiceSettings(public_base_url=BASE), clients=(service.client,))
    verifier = Verifier(
        config,
        service.state_dir,
        lambda: datetime.fromtimestamp(service.now, UTC),
        endpoints=("/cds-services", PATH, feedback),
    )
    verifier.authenticate(ehr.sign(aud=[ENDPOINT, BASE + feedback]), (PATH,))
    verifier.authenticate(ehr.sign(aud=[BASE + "/cds-services", ENDPOINT]), (PATH,))
    for members in ([BASE + feedback], [ENDPOINT, BASE + "/else"], [ENDPOINT, None]):
        with pytest.raises(UnauthorizedError):
            verifier.authenticate(ehr.sign(aud=members), (PATH,))


def test_audience_may_use_another_base_url_of_the_client(service: Service, ehr: Ehr) -> None:
    """Behind two proxies the same endpoint has two URLs; a full URL of ours means its path."""
    service.knows(audience_base_urls=("https://inside.hospital.example/cds",))
    service.accepts(ehr.sign(aud="https://inside.hospital.example/cds" + PATH), (ENDPOINT,))
    refusal(service, ehr.sign(aud="https://inside.hospital.example" + PATH), (ENDPOINT,))


def test_foreign_audience_is_accepted_only_with_the_waiver(service: Service, ehr: Ehr) -> None:
    """A list that names another service too needs the profile's word, and still needs ours."""
    service.knows(allows_foreign_audience=True)
    service.accepts(ehr.sign(aud=["https://other.example/x", ENDPOINT]))
    refusal(service, ehr.sign(aud=["https://other.example/x"]))


def test_missing_typ_is_accepted_only_with_the_waiver(service: Service, ehr: Ehr) -> None:
    """The waiver is for a missing typ, never for a wrong one."""
    service.knows(allows_missing_typ=True)
    header = {"alg": "ES384", "kid": ehr.kid}
    service.accepts(ehr.sign(header=header))
    refusal(service, ehr.sign(header={**header, "typ": "at+jwt"}))


def test_tenant_and_subject_are_required_when_configured(service: Service, ehr: Ehr) -> None:
    """With a list, a token without the claim or with another value is refused."""
    service.knows(tenants=("ward-1", "ward-2"), subjects=("client-7",))
    service.accepts(ehr.sign(tenant="ward-2", sub="client-7"))
    for wrong in (
        {},
        {"tenant": "ward-2"},
        {"sub": "client-7"},
        {"tenant": "ward-3", "sub": "client-7"},
        {"tenant": ["ward-1"], "sub": "client-7"},
        {"tenant": "ward-1", "sub": "CLIENT-7"},
    ):
        refusal(service, ehr.sign(**wrong))


def test_clients_with_one_issuer_are_told_apart_by_tenant(service: Service, ehr: Ehr) -> None:
    """One cloud EHR signs for many hospitals; the tenant says which one calls."""
    service.knows(tenants=("north",))
    south = ClientProfile(
        id="south", issuers=(ISSUER,), tenants=("south",), jwks=service.client.jwks
    )
    verifier = service.verifier(south)
    assert verifier.authenticate(ehr.sign(tenant="north"), (PATH,)).id == "hospital"
    assert verifier.authenticate(ehr.sign(tenant="south"), (PATH,)).id == "south"
    with pytest.raises(UnauthorizedError):
        verifier.authenticate(ehr.sign(tenant="west"), (PATH,))


def test_jku_on_the_list_is_accepted_and_not_fetched(service: Service, ehr: Ehr) -> None:
    """The token's jku is compared with the list and never called."""
    jku = "https://ehr.hospital.example/jwks.json"
    service.knows(jku_urls=(jku,))
    with responses.RequestsMock():
        service.accepts(ehr.sign(header={**ehr.header(), "jku": jku}))
        refusal(service, ehr.sign(header={**ehr.header(), "jku": jku + "?x"}))


def test_epic_token_is_accepted(service: Service, make_rsa_ehr: Callable[[], Ehr]) -> None:
    """Epic: RS384, kid with base64 characters, jku, sub, nbf five minutes early, 900 s of life."""
    epic = make_rsa_ehr()
    epic.kid = "a+b/c=="
    jku = "https://ehr.hospital.example/api/epic/2019/Security/Open/PublicKeys/530005/CDS"
    service.knows(
        jwks=key_set(public_jwk(epic.key, epic.kid)), jku_urls=(jku,), subjects=("client-id",)
    )
    header = {**epic.header(), "jku": jku}
    token = epic.sign(header=header, sub="client-id", nbf=NOW - 300, exp=NOW + 900)
    assert service.accepts(token).id == "hospital"


def test_sandbox_token_is_accepted_when_configured(service: Service, ehr: Ehr) -> None:
    """CDS Hooks Sandbox: ES384, jku, 300 s, a UUID as jti, no tenant, sub or nbf."""
    issuer, jku = (
        "https://sandbox.cds-hooks.org",
        "https://sandbox.cds-hooks.org/.well-known/jwks.json",
    )
    ehr.kid = "44823f3d-0b01-4a6c-a80e-b9d3e8a7226f"
    service.knows(
        issuers=(issuer,), jku_urls=(jku,), jwks=key_set(public_jwk(ehr.key, ehr.kid, use="sig"))
    )
    token = ehr.sign(
        header={**ehr.header(), "jku": jku},
        iss=issuer,
        jti="0a4a2ec2-9b3a-4a5f-a33b-8f5b8e3bd001",
    )
    assert service.accepts(token).id == "hospital"


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_inferno_token_is_accepted_when_configured(
    service: Service, ehr: Ehr, make_rsa_ehr: Callable[[], Ehr], algorithm: str
) -> None:
    """Inferno: either algorithm, jku under the issuer, jti of 64 hexadecimal characters."""
    inferno = ehr if algorithm == "ES384" else make_rsa_ehr()
    issuer = "https://inferno.example/custom/crd_server"
    service.knows(
        issuers=(issuer,),
        jku_urls=(issuer + "/jwks.json",),
        jwks=key_set(public_jwk(inferno.key, inferno.kid)),
    )
    header = {**inferno.header(), "jku": issuer + "/jwks.json"}
    token = inferno.sign(header=header, iss=issuer, jti="0123456789abcdef" * 4)
    assert service.accepts(token).id == "hospital"


def test_no_client_configured_refuses_every_token(tmp_path: object, ehr: Ehr) -> None:
    """A service without clients accepts nobody."""
    nobody = Service(tmp_path, ClientProfile(id="nobody"))
    assert refusal(nobody, ehr.sign()) == "iss is not on the list"


def test_issuer_with_a_slash_too_many_is_told_as_that(service: Service, ehr: Ehr) -> None:
    """The operator reads why every call of the new EHR gets 401; no issuer stands in the log."""
    why = refusal(service, ehr.sign(iss=f"{ISSUER}/"))
    assert why == "iss is not on the list; one there differs only by a slash at its end"


def test_algorithm_of_the_key_must_be_on_the_clients_list(service: Service, ehr: Ehr) -> None:
    """A good ES384 signature is refused for a client that may only use RS384."""
    service.knows(algorithms=("RS384",))
    assert refusal(service, ehr.sign()) == "alg is not on the client's list"


def test_replay_is_refused_up_to_the_last_second_of_the_token(service: Service, ehr: Ehr) -> None:
    """The clock skew that keeps a token alive keeps its use on record too."""
    header = ehr.sign()
    service.accepts(header)
    service.now = NOW + 360
    assert refusal(service, header) == "the token was used before"
    service.now = NOW + 361
    assert refusal(service, header) == "exp is past"


def test_authorization_header_over_8_kb_is_refused_before_it_is_read(
    service: Service, ehr: Ehr
) -> None:
    """A good token of exactly 8 KB is accepted, a longer good one is not."""
    long = ehr.sign(filler="x" * 5700)
    room = 8192 - len(long)
    assert room > 0
    fitting = ehr.sign(filler="x" * (5700 + room * 3 // 4 - 3))
    assert 8180 < len(fitting) <= 8192
    assert service.accepts(fitting).id == "hospital"
    assert "8 KB" in refusal(service, ehr.sign(filler="x" * (5700 + room)))


def test_token_that_fits_two_clients_is_refused(service: Service, ehr: Ehr) -> None:
    """Nobody guesses which of two hospitals a token means."""
    twin = ClientProfile(id="twin", issuers=(ISSUER,), jwks=service.client.jwks)
    with pytest.raises(UnauthorizedError) as caught:
        service.verifier(twin).authenticate(ehr.sign(), (PATH,))
    assert caught.value.reason == "the token fits more than one client"


def test_weak_rsa_key_verifies_nothing(service: Service) -> None:
    """A key of 1024 bits is left out of the set, so its kid is unknown."""
    weak = Ehr(rsa.generate_private_key(65537, 1024), kid="weak", algorithm="RS384")  # noqa: S505 - it must be refused
    service.knows(jwks=key_set(public_jwk(weak.key, "weak")))
    assert refusal(service, weak.sign()) == "the client has no key with this kid"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
TOKEN_TEXT = st.text(alphabet="ABCabc019-_.=+ /,", max_size=200)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TOKEN_TEXT | st.text(max_size=100) | TOKEN_TEXT.map("Bearer {}".format))
def test_any_text_as_header_is_refused_and_nothing_else(service: Service, text: str) -> None:
    """Whatever stands in the header, the answer is the one refusal."""
    refusal(service, text)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "jku", "crit", "x"]), JSON_VALUES, max_size=4
    ),
    claims=st.dictionaries(
        st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "jti", "sub", "tenant"]),
        JSON_VALUES,
        min_size=1,
        max_size=5,
    ),
)
def test_signed_token_with_odd_members_is_refused_and_nothing_else(
    service: Service, ehr: Ehr, header: dict[str, object], claims: dict[str, object]
) -> None:
    """Odd types in any member of a signed token lead to the one refusal, or change nothing."""
    token = ehr.sign(header={**ehr.header(), **header}, claims={**ehr.claims(), **claims})
    try:
        service.accepts(token)
    except UnauthorizedError:
        return
    assert set(header) <= {"x"}
    assert set(claims) <= {"sub", "tenant", "jti", "nbf"}
