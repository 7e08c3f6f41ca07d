"""An attacker's afternoon: tokens, replays, URLs, smuggling, methods, paths and headers."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.security.conftest import Site
from tests.security.lab import (
    FEEDBACK,
    SERVICE,
    Ehr,
    base64url,
    hook_body,
    listening,
)

EVIL = "evil.example"


def _hmac_token(ehr: Ehr) -> str:
    pem = ehr.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    parts = ({**ehr.header(), "alg": "HS256"}, ehr.claims())
    text = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    return f"{text}.{base64url(hmac.new(pem, text.encode(), hashlib.sha256).digest())}"


def _unsigned_token(ehr: Ehr) -> str:
    parts = ({**ehr.header(), "alg": "none"}, ehr.claims())
    return ".".join(base64url(json.dumps(part).encode()) for part in parts) + "."


def _with_own_key(ehr: Ehr, member: str) -> str:
    attacker = replace(ehr, key=ec.generate_private_key(ec.SECP384R1()))
    value: object = {"jwk": attacker.jwk(), "x5c": ["MIIB"], "x5u": f"https://{EVIL}/c.pem"}[member]
    return attacker.token({member: value})


def _twice(ehr: Ehr, name: str) -> str:
    claims = json.dumps(ehr.claims())
    return ehr.sign(
        json.dumps(ehr.header()), f"{claims[:-1]}, {json.dumps(name)}: {json.dumps(ehr.issuer)}}}"
    )


def _with_claim_text(ehr: Ehr, name: str, number: str) -> str:
    """Return a signed token in which one number is written as *number*."""
    claims = re.sub(rf'"{name}": \d+', f'"{name}": {number}', json.dumps(ehr.claims()))
    return ehr.sign(json.dumps(ehr.header()), claims)


def _now() -> int:
    return int(time.time())


WRONG_TOKENS: dict[str, Callable[[Ehr], str | None]] = {
    "no token": lambda _: None,
    "garbage": lambda _: "garbage",
    "alg none": _unsigned_token,
    "HS256 with the public key": _hmac_token,
    "another key": lambda ehr: replace(ehr, key=ec.generate_private_key(ec.SECP384R1())).token(),
    "unknown kid": lambda ehr: ehr.token({"kid": "other"}),
    "kid of another client": lambda ehr: ehr.token({"kid": "narrow"}),
    "no kid": lambda ehr: ehr.token({"kid": None}),
    "kid as a path": lambda ehr: ehr.token({"kid": "../../../../dev/null"}),
    "typ at+jwt": lambda ehr: ehr.token({"typ": "at+jwt"}),
    "no typ": lambda ehr: ehr.token({"typ": None}),
    "crit": lambda ehr: ehr.token({"crit": ["exp"]}),
    "embedded jwk": lambda ehr: _with_own_key(ehr, "jwk"),
    "x5c": lambda ehr: _with_own_key(ehr, "x5c"),
    "x5u": lambda ehr: _with_own_key(ehr, "x5u"),
    "nested": lambda ehr: ehr.sign(json.dumps({**ehr.header(), "cty": "JWT"}), ehr.token()),
    "expired": lambda ehr: ehr.token(iat=_now() - 400, exp=_now() - 100),
    "issued in the future": lambda ehr: ehr.token(iat=_now() + 100, exp=_now() + 200),
    "not valid yet": lambda ehr: ehr.token(nbf=_now() + 100),
    "ten years of life": lambda ehr: ehr.token(exp=_now() + 315_360_000),
    "another audience": lambda ehr: ehr.token(aud=f"https://{EVIL}{SERVICE}"),
    "audience of discovery": lambda ehr: ehr.token(aud=f"{ehr.audience}/cds-services"),
    "audience of feedback": lambda ehr: ehr.token(aud=ehr.audience + FEEDBACK),
    "audience without a path": lambda ehr: ehr.token(aud=ehr.audience),
    "audience list with another service": lambda ehr: ehr.token(
        aud=[ehr.audience + SERVICE, f"https://{EVIL}"]
    ),
    "another issuer": lambda ehr: ehr.token(iss=f"https://{EVIL}"),
    "issuer of another client": lambda ehr: ehr.token(iss="https://narrow.example"),
    **{
        f"no {claim}": lambda ehr, claim=claim: ehr.token(**{claim: None})  # type: ignore[misc]
        for claim in ("iss", "aud", "exp", "iat", "jti")
    },
    "alg in small letters": lambda ehr: ehr.token({"alg": "es384"}),
    "alg a list": lambda ehr: ehr.token({"alg": ["ES384"]}),
    "alg of another curve": lambda ehr: ehr.token({"alg": "ES256"}),
    "kid a number": lambda ehr: ehr.token({"kid": 1}),
    "kid a list": lambda ehr: ehr.token({"kid": [ehr.kid]}),
    "kid with NUL": lambda ehr: ehr.token({"kid": f"{ehr.kid}\0"}),
    "typ a list": lambda ehr: ehr.token({"typ": ["JWT"]}),
    "jku a list": lambda ehr: ehr.token({"jku": ["https://ehr.hospital.example/jwks.json"]}),
    "unencoded payload": lambda ehr: ehr.token({"b64": False, "crit": ["b64"]}),
    "compressed payload": lambda ehr: ehr.token({"zip": "DEF"}),
    "encrypted form": lambda ehr: ".".join([ehr.token().partition(".")[0]] * 5),
    "empty signature": lambda ehr: ehr.token().rpartition(".")[0] + ".",
    "exp not a number": lambda ehr: _with_claim_text(ehr, "exp", "NaN"),
    "exp endless": lambda ehr: _with_claim_text(ehr, "exp", "1e999"),
    "exp true": lambda ehr: ehr.token(exp=True),
    "exp of forty digits": lambda ehr: ehr.token(exp=10**40),
    "exp a text": lambda ehr: ehr.token(exp=str(_now() + 100)),
    "exp before iat": lambda ehr: ehr.token(exp=_now() - 1, iat=_now()),
    "iat before time": lambda ehr: _with_claim_text(ehr, "iat", "-1e999"),
    "nbf a text": lambda ehr: ehr.token(nbf="0"),
    "audience with two slashes": lambda ehr: ehr.token(aud=f"{ehr.audience}{SERVICE}//"),
    "audience with a query": lambda ehr: ehr.token(aud=f"{ehr.audience}{SERVICE}?a"),
    "audience in capitals": lambda ehr: ehr.token(aud=f"{ehr.audience}{SERVICE}".upper()),
    "audience an empty list": lambda ehr: ehr.token(aud=[]),
    "audience a list of lists": lambda ehr: ehr.token(aud=[[ehr.audience + SERVICE]]),
    "audience an object": lambda ehr: ehr.token(aud={ehr.audience + SERVICE: 1}),
    "issuer with a slash": lambda ehr: ehr.token(iss=f"{ehr.issuer}/"),
    "issuer a list": lambda ehr: ehr.token(iss=[ehr.issuer]),
    "issuer with a letter of another script": lambda ehr: ehr.token(
        iss=ehr.issuer.replace("e", "\u0435", 1)
    ),
    "jti empty": lambda ehr: ehr.token(jti=""),
    "jti a number": lambda ehr: ehr.token(jti=5),
    "jti of 257 letters": lambda ehr: ehr.token(jti="j" * 257),
    "payload a list": lambda ehr: ehr.sign(json.dumps(ehr.header()), "[]"),
    "payload nested 3000 times": lambda ehr: ehr.sign(
        json.dumps(ehr.header()), '{"a":' + "[" * 3000 + "]" * 3000 + "}"
    ),
    "alg twice": lambda ehr: ehr.sign(
        '{"alg":"none",' + json.dumps(ehr.header())[1:], json.dumps(ehr.claims())
    ),
    "audience twice": lambda ehr: ehr.sign(
        json.dumps(ehr.header()), '{"aud":"x",' + json.dumps(ehr.claims())[1:]
    ),
    "issuer twice": lambda ehr: _twice(ehr, "iss"),
    "a member more in the signature": lambda ehr: ehr.token() + ".a",
    "padding": lambda ehr: ehr.token() + "==",
    "9 KB": lambda ehr: ehr.token(jti="j" * 9000),
}


@pytest.mark.parametrize("path", [SERVICE, FEEDBACK])
@pytest.mark.parametrize("name", WRONG_TOKENS)
def test_wrong_token_gets_a_bare_401_and_no_reason(site: Site, name: str, path: str) -> None:
    """Every wrong token is answered with the same bytes; the reason is in the log only."""
    make = WRONG_TOKENS[name]
    if name == "audience of feedback" and path == FEEDBACK:
        make = WRONG_TOKENS["audience of discovery"]  # the other one is right here
    answer = site.service.post(make(site.ehr), hook_body(), path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "login",
                "details": {"text": "This call is not authorised."},
            }
        ],
    }
    assert site.service.reasons()


def test_good_token_opens_the_service_directly_and_through_the_proxy(site: Site) -> None:
    """The audience is the public URL of the proxy, whatever way the call takes."""
    assert site.service.post(site.ehr.token(), hook_body()).status_code == 200
    through_proxy = requests.post(
        site.public_url + SERVICE,
        json=hook_body(),
        headers={"Authorization": f"Bearer {site.ehr.token()}"},
        timeout=20,
    )
    assert through_proxy.status_code == 200
    internal = site.ehr.token(aud=site.service.url + SERVICE)
    assert site.service.post(internal, hook_body()).status_code == 401


def test_wrong_token_is_refused_through_the_proxy_too(site: Site) -> None:
    """A proxy in front changes nothing about who is let in."""
    for name, make in WRONG_TOKENS.items():
        token = make(site.ehr)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = requests.post(
            site.public_url + SERVICE, json=hook_body(), headers=headers, timeout=20
        )
        assert answer.status_code == 401, name


def test_token_sent_to_all_processes_at_once_is_accepted_once(site: Site) -> None:
    """A stolen token that races its owner through two worker processes works one time in all."""
    token = site.ehr.token()
    with ThreadPoolExecutor(16) as pool:
        codes = list(
            pool.map(lambda _: site.service.post(token, hook_body()).status_code, range(32))
        )
    assert sorted(codes) == [200, *[401] * 31]


def test_key_set_url_of_a_token_is_never_asked(site: Site) -> None:
    """jku, x5u and iss of a token name the attacker's server; nobody calls it."""
    with listening() as (port, seen):
        url = f"http://127.0.0.1:{port}/jwks.json"
        attacker = replace(site.ehr, key=ec.generate_private_key(ec.SECP384R1()))
        for token in (
            attacker.token({"jku": url}),
            site.ehr.token({"jku": url}),
            attacker.token({"jku": "https://ehr.hospital.example/jwks.json@127.0.0.1:{port}"}),
            attacker.token({"x5u": url}),
            attacker.token(iss=url),
        ):
            assert site.service.post(token, hook_body()).status_code == 401
    assert seen == []


def _raw(site: Site, *headers: str, path: str = SERVICE, body: bytes | None = None) -> bytes:
    sent = json.dumps(hook_body()).encode() if body is None else body
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        "Connection: close",
        *headers,
    ]
    if not any(line.lower().startswith(("content-length", "transfer-")) for line in headers):
        lines.append(f"Content-Length: {len(sent)}")
    return site.service.talk("\r\n".join([*lines, "", ""]).encode("latin-1") + sent)


def test_two_authorization_headers_are_refused(site: Site) -> None:
    """A good token next to another is not a good token, in either order."""
    good, other = site.ehr.token(), site.ehr.token(iss=f"https://{EVIL}")
    for first, second in ((good, other), (other, good), (good, good)):
        answer = _raw(site, f"Authorization: Bearer {first}", f"Authorization: Bearer {second}")
        assert answer.startswith(b"HTTP/1.1 401")
    assert _raw(site, f"Authorization: Bearer {good}").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("name", ["access_token", "token", "authorization", "Authorization"])
def test_token_anywhere_but_in_the_header_is_not_read(site: Site, name: str) -> None:
    """Query, body and cookie are no places for a token."""
    token = site.ehr.token()
    for answer in (
        site.service.post(None, hook_body(), f"{SERVICE}?{name}={token}"),
        site.service.post(None, {**hook_body(), name: f"Bearer {token}"}),
        requests.post(
            site.service.url + SERVICE, json=hook_body(), cookies={name: token}, timeout=20
        ),
    ):
        assert answer.status_code == 401
    assert token not in site.service.log.read_text(encoding="utf-8")


def _hostile_servers(port: int) -> list[str]:
    listed = "ehr.hospital.example"
    return [
        f"http://127.0.0.1:{port}",
        f"https://127.0.0.1:{port}",
        f"http://localhost:{port}/fhir",
        f"http://LOCALHOST:{port}",
        f"http://[::1]:{port}",
        f"http://[::ffff:127.0.0.1]:{port}",
        f"http://[::ffff:7f00:1]:{port}",
        f"http://2130706433:{port}",
        f"http://0x7f000001:{port}",
        f"http://0177.0.0.1:{port}",
        f"http://127.1:{port}",
        f"http://0:{port}",
        f"http://0.0.0.0:{port}",
        f"http://127.0.0.1.:{port}",
        f"http://①②⑦.⓪.⓪.①:{port}",
        f"http://127。0。0。1:{port}",
        f"https://{listed}@127.0.0.1:{port}/fhir",
        f"https://{listed}:443@127.0.0.1:{port}/fhir",
        f"https://127.0.0.1:{port}#@{listed}/fhir",
        f"https://127.0.0.1:{port}?{listed}/fhir",
        f"https://{listed}.127.0.0.1.nip.io:{port}/fhir",
        f"https://{listed}:{port}/fhir",
        f"https://{listed}/fhir/../admin",
        f"https://{listed}/fhir/%2e%2e/admin",
        f"https://{listed}/fhirx",
        f"https://{listed}/",
        f"https://{listed}./fhir",
        f"http://{listed}/fhir",
        f"https://{listed}%2eevil.example/fhir",
        f"https://{listed}\\@127.0.0.1:{port}/fhir",
        f"https://{listed}/fhir\r\nHost: 127.0.0.1:{port}",
        f"https://{listed}/fhir\u0000@127.0.0.1:{port}",
        "http://169.254.169.254/latest/meta-data",
        "http://metadata.google.internal/computeMetadata/v1",
        "http://[fd00:ec2::254]/latest",
        f"ftp://127.0.0.1:{port}",
        f"gopher://127.0.0.1:{port}/_GET",
        "file:///etc/passwd",
        "jar:http://127.0.0.1!/x",
        "//127.0.0.1",
        "",
        " ",
    ]


def test_fhir_server_of_a_request_is_called_only_if_it_is_on_the_list(site: Site) -> None:
    """42 URLs that want the patient's access token; the listener on this machine sees nothing."""
    with listening() as (port, seen):
        for url in _hostile_servers(port):
            body = hook_body(
                fhirServer=url,
                fhirAuthorization={
                    "access_token": "secret-access-token",
                    "token_type": "Bearer",
                    "expires_in": 300,
                    "scope": "patient/*.read",
                    "subject": "cds",
                },
            )
            del body["prefetch"]
            answer = site.service.post(site.ehr.token(), body)
            assert answer.status_code in {400, 412}, url
            assert "secret-access-token" not in answer.text
            assert EVIL not in answer.text
    assert seen == []
    assert "secret-access-token" not in site.service.log.read_text(encoding="utf-8")


GOOD_GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLED = {
    "length and chunked": ["Content-Length: 4", "Transfer-Encoding: chunked"],
    "two lengths": ["Content-Length: 4", "Content-Length: 40"],
    "length with a sign": ["Content-Length: +4"],
    "length with a blank": ["Content-Length: 4 0"],
    "length list": ["Content-Length: 4, 4"],
    "negative length": ["Content-Length: -4"],
    "chunked twice": ["Transfer-Encoding: chunked, chunked"],
    "unknown coding": ["Transfer-Encoding: xchunked"],
    "coding after chunked": ["Transfer-Encoding: chunked, identity"],
    "tab in the coding": ["Transfer-Encoding:\x0bchunked"],
    "blank before the colon": ["Transfer-Encoding : chunked"],
    "folded header": ["X-A: b\r\n Transfer-Encoding: chunked"],
    "NUL in a header": ["X-A: b\x00c"],
    "line feed only": ["X-A: b\nContent-Length: 0"],
}


@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_request_two_servers_could_read_differently_is_answered_once(
    site: Site, headers: list[str]
) -> None:
    """What follows a doubtful body is never taken for a second request."""
    with socket.create_connection(("127.0.0.1", site.service.port), timeout=20) as connection:
        head = ["POST /cds-services HTTP/1.1", "Host: x", *headers, "", ""]
        connection.sendall("\r\n".join(head).encode("latin-1") + b"0\r\n\r\n" + GOOD_GET)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", answer)) == 1
    assert answer[9:12] in {b"400", b"501"}
    assert b'"live"' not in answer


BROKEN_CHUNKS = {
    "negative size": b"-1\r\n{}\r\n0\r\n\r\n",
    "size with 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "size with an underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "size that is no number": b"zz\r\n{}\r\n0\r\n\r\n",
    "no end of the chunk": b"2\r\n{}XX0\r\n\r\n",
    "extension of 100 kB": b"2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
    "trailer that is no header": b"2\r\n{}\r\n0\r\nX Y: b\r\n\r\n",
    "trailer without a colon": b"2\r\n{}\r\n0\r\nbroken\r\n\r\n",
}


@pytest.mark.parametrize("body", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS.keys())
def test_broken_chunks_of_a_known_client_are_its_own_fault_and_end_the_connection(
    site: Site, body: bytes
) -> None:
    """A body cut into wrong pieces gets 400, not 500, and nothing behind it is a second call."""
    head = [
        f"POST {SERVICE} HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Authorization: Bearer {site.ehr.token()}",
        "Transfer-Encoding: chunked",
        "",
        "",
    ]
    answer = site.service.talk("\r\n".join(head).encode() + body + GOOD_GET, seconds=8)
    assert answer.startswith(b"HTTP/1.1 400")
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", answer)) == 1
    assert b'"live"' not in answer


def test_oversize_heads_are_refused(site: Site) -> None:
    """A long line, a long header, many headers and an endless head are refused by their size."""
    heads = {
        b"414": b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"431": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 17_000 + b"\r\n\r\n",
    }
    many = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 80 + b"\r\n"
    endless = b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 20_000
    for status, head in (*heads.items(), (b"431", many), (b"431", endless)):
        assert site.service.talk(head).startswith(b"HTTP/1.1 " + status)


def test_body_over_the_limit_is_refused_before_it_is_sent(site: Site) -> None:
    """413 comes on the stated length alone; not one byte of the body is waited for."""
    started = time.monotonic()
    answer = _raw(
        site, f"Authorization: Bearer {site.ehr.token()}", "Content-Length: 99999999999", body=b""
    )
    assert answer.startswith(b"HTTP/1.1 413")
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "TRACK", "BREW"]
)
def test_other_method_is_refused_without_echo(site: Site, method: str) -> None:
    """The service takes POST only, and TRACE shows nobody their headers."""
    answer = requests.request(
        method,
        site.service.url + SERVICE,
        headers={"X-Canary": "zqcanary", "X-HTTP-Method-Override": "POST", "Cookie": "zqcanary=1"},
        timeout=20,
    )
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert "zqcanary" not in answer.text


PATHS = [
    "//cds-services/post-laminectomy-evaluation",
    "/cds-services//post-laminectomy-evaluation",
    "/cds-services/../cds-services/post-laminectomy-evaluation",
    "/cds-services/%2e%2e/health/ready",
    "/health/../cds-services/post-laminectomy-evaluation",
    "/cds-services/post-laminectomy-evaluation/../post-laminectomy-evaluation",
    "/cds-services/post-laminectomy-evaluation%00",
    "/cds-services/post-laminectomy-evaluation;a=b",
    "/cds-services\\post-laminectomy-evaluation",
    "/cds-services%2fpost-laminectomy-evaluation",
    "/CDS-SERVICES/post-laminectomy-evaluation",
    "/cds-services/Post-Laminectomy-Evaluation",
    "/cds-services/post-laminectomy-evaluation/feedback/x",
    "/static/../app.py",
    "/static/%2e%2e/templates/page.html",
    "/static/..%2f..%2f..%2fetc/passwd",
    "/static//etc/passwd",
    "/guidance/..%2f..%2fetc%2fpasswd",
    "/guidance/{{7*7}}",
    "/guidance/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/fhir/ValueSet/..%2f..%2fcards",
    "/fhir/CodeSystem/%27%20OR%201=1--",
    "/console",
    "/debug",
    "/metrics",
    "/.git/config",
    "/.env",
    "/admin",
]


@pytest.mark.parametrize("path", PATHS)
def test_path_trick_opens_nothing(site: Site, path: str) -> None:
    """A path that is not exactly one of ours is nothing, for reading and for calling."""
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    read = site.service.talk(head.encode())
    called = _raw(site, f"Authorization: Bearer {site.ehr.token()}", path=path)
    assert read[9:12] in {b"404", b"405"}
    assert called[9:12] in {b"404", b"405"}
    for answer in (read, called):
        assert b"OperationOutcome" in answer
        assert b"script" not in answer
        assert b"49" not in answer.partition(b"\r\n\r\n")[2]


def test_absolute_and_odd_request_targets_open_nothing(site: Site) -> None:
    """The service is no proxy, whatever the request line names."""
    for target in (f"http://{EVIL}/", f"{EVIL}:443", "*", f"//{EVIL}/"):
        for method in ("GET", "CONNECT", "OPTIONS"):
            head = f"{method} {target} HTTP/1.1\r\nHost: {EVIL}\r\nConnection: close\r\n\r\n"
            answer = site.service.talk(head.encode())
            assert EVIL.encode() not in answer
            assert answer[9:10] in {b"2", b"4"}


FORGED = {
    "Host": EVIL,
    "X-Forwarded-Host": EVIL,
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Port": "666",
    "Forwarded": f"host={EVIL};proto=https",
    "X-Original-URL": "/health/ready",
    "X-Rewrite-URL": "/health/ready",
    "X-Script-Name": "/evil",
    "SCRIPT_NAME": "/guidance",
    "PATH_INFO": "/health/ready",
    "REMOTE_USER": "admin",
}


@pytest.mark.parametrize(
    "path", ["/", "/cds-services", "/guidance/IMG-MRI-NR", "/fhir/CodeSystem/finding", "/missing"]
)
def test_forged_headers_change_no_byte_of_an_answer(site: Site, path: str) -> None:
    """Host and X-Forwarded-* have no say in addresses, links or routes."""
    plain = requests.get(site.service.url + path, timeout=20)
    for name, value in FORGED.items():
        forged = requests.get(site.service.url + path, headers={name: value}, timeout=20)
        assert (forged.status_code, forged.content) == (plain.status_code, plain.content), name
        assert "Location" not in forged.headers


def test_forged_headers_open_no_door_and_change_no_card(site: Site) -> None:
    """Nobody becomes a client by a header a proxy could have set; cards link to the public URL."""
    for name, value in {
        **FORGED,
        "X-SSL-Client-Verify": "SUCCESS",
        "X-Client-Id": "hospital",
    }.items():
        answer = requests.post(
            site.service.url + SERVICE, json=hook_body(), headers={name: value}, timeout=20
        )
        assert answer.status_code == 401, name


def test_browser_pages_elsewhere_may_read_answers_but_send_no_cookie(site: Site) -> None:
    """CORS is open without credentials on the hook addresses and closed elsewhere."""
    asked = {"Origin": f"https://{EVIL}", "Access-Control-Request-Method": "POST"}
    preflight = requests.options(site.service.url + SERVICE, headers=asked, timeout=20)
    refused = requests.post(site.service.url + SERVICE, json={}, headers=asked, timeout=20)
    for answer in (preflight, refused):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Set-Cookie" not in answer.headers
    for path in ("/", "/guidance/", "/health/ready", "/fhir/CodeSystem/finding"):
        answer = requests.get(site.service.url + path, headers=asked, timeout=20)
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_client_over_its_rate_gets_429_and_others_do_not(site: Site) -> None:
    """One EHR's flood ends with Retry-After; the other EHR is answered as before."""
    codes = [site.service.post(site.narrow.token(), hook_body()).status_code for _ in range(8)]
    assert 429 in codes
    limited = site.service.post(site.narrow.token(), hook_body())
    while limited.status_code != 429:
        limited = site.service.post(site.narrow.token(), hook_body())
    assert int(limited.headers["Retry-After"]) >= 1
    assert limited.json()["issue"][0]["code"] == "throttled"
    assert site.service.post(site.ehr.token(), hook_body()).status_code == 200


def test_compressed_and_foreign_bodies_are_refused_by_their_type(site: Site) -> None:
    """No decompression, no form, no XML: 415 before the token is even looked at."""
    for headers in (
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "identity"},
        {"Content-Type": "multipart/form-data; boundary=a"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/fhir+xml"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "text/plain"},
    ):
        answer = requests.post(
            site.service.url + SERVICE, data=b"\x1f\x8b\x08" * 10, headers=headers, timeout=20
        )
        assert answer.status_code == 415, headers
