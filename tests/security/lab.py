"""An attacker's workbench: a running service, an EHR that signs, a listener and a reverse proxy."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.everything_written import BIRTH_DATE, FAMILY_NAME, PATIENT_ID
from tests.patience import PATIENT_SECONDS, until

SERVICE = "/cds-services/post-laminectomy-evaluation"
FEEDBACK = f"{SERVICE}/feedback"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def base64url(raw: bytes) -> str:
    """Return *raw* as a part of a token."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Ehr:
    """An EHR the service knows: it signs whatever an attacker wants signed."""

    audience: str
    issuer: str = "https://ehr.hospital.example/fhir"
    kid: str = "key+1/a="
    algorithm: str = "ES384"
    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))

    def jwk(self) -> dict[str, str]:
        """Return the public key."""
        kind = (
            jwt.algorithms.ECAlgorithm if self.algorithm == "ES384" else jwt.algorithms.RSAAlgorithm
        )
        public = json.loads(kind.to_jwk(self.key.public_key()))
        public.pop("key_ops", None)
        return {**public, "kid": self.kid, "alg": self.algorithm}

    def header(self) -> dict[str, Any]:
        """Return a good JOSE header."""
        return {"alg": self.algorithm, "typ": "JWT", "kid": self.kid}

    def claims(self) -> dict[str, Any]:
        """Return good claims with a jti of their own."""
        now = int(time.time())
        return {
            "iss": self.issuer,
            "aud": self.audience + SERVICE,
            "iat": now,
            "exp": now + 300,
            "jti": uuid.uuid4().hex,  # noqa: TID251 - each token its own
        }

    def token(self, header: Mapping[str, Any] | None = None, **changed: object) -> str:
        """Return a signed token; *header* members and *changed* claims replace the good ones."""
        parts = ({**self.header(), **(header or {})}, {**self.claims(), **changed})
        kept = [{key: value for key, value in part.items() if value is not None} for part in parts]
        return self.sign(*(json.dumps(part) for part in kept))

    def sign(self, header: str, claims: str) -> str:
        """Return a token of exactly these texts."""
        signing_input = f"{base64url(header.encode())}.{base64url(claims.encode())}"
        algorithm = jwt.algorithms.get_default_algorithms()[self.algorithm]
        signature = algorithm.sign(signing_input.encode(), algorithm.prepare_key(self.key))
        return f"{signing_input}.{base64url(signature)}"

    def profile(self, client_id: str, *lines: str) -> str:
        """Return the block of the configuration file for this EHR."""
        key = [f"{name} = {json.dumps(value)}" for name, value in self.jwk().items()]
        return "\n".join(
            [
                "[[clients]]",
                f'id = "{client_id}"',
                f"issuers = [{json.dumps(self.issuer)}]",
                *lines,
                "[[clients.jwks.keys]]",
                *key,
                "",
            ]
        )


@dataclass(frozen=True)
class Service:
    """A running service."""

    port: int
    log: Path
    state: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def post(self, token: str | None, body: object, path: str = SERVICE) -> requests.Response:
        """Call the service as an EHR does."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.post(f"{self.url}{path}", json=body, headers=headers, timeout=20)

    def talk(self, request: bytes, *, seconds: float = 15) -> bytes:
        """Send raw bytes; return everything that comes back until the service hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(request)
            received = b""
            try:
                while piece := connection.recv(65_536):
                    received += piece
            except OSError:
                pass
            return received

    def refuses(self) -> bool:
        """Return whether it takes no new connection."""
        try:
            return not requests.get(f"{self.url}/health/live", timeout=0.5).ok
        except requests.ConnectionError as error:
            return "refused" in str(error)
        except requests.Timeout:
            return False

    def workers(self) -> list[int]:
        """Return the worker processes, the oldest first."""
        root = self.process.pid
        found = Path(f"/proc/{root}/task/{root}/children").read_text(encoding="ascii").split()
        return sorted(int(each) for each in found)

    def reasons(self) -> list[str]:
        """Return why calls were refused, as the log says."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        found = (json.loads(line).get("reason") for line in lines if line.startswith("{"))
        return [reason for reason in found if reason]


@contextmanager
def running_service(
    folder: Path, config: str, *, port: int, program: tuple[str, ...] = ("-m", "cds_service")
) -> Iterator[Service]:
    """Run the service with the configuration *config* as a process of its own."""
    path, log = folder / "cds.toml", folder / "log"
    path.write_text(config, encoding="utf-8")
    arguments = ["serve", "--config", str(path), "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, *program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    service = Service(port=port, log=log, state=folder / "state", process=process)
    try:
        _wait_until_live(service)
        yield service
    finally:
        process.terminate()
        process.wait(timeout=PATIENT_SECONDS)


def _wait_until_live(service: Service) -> None:
    def is_live() -> bool:
        assert service.process.poll() is None, service.log.read_text()
        return requests.get(f"{service.url}/health/live", timeout=2).ok

    assert until(is_live), service.log.read_text()


def hook_body(patient_id: str = PATIENT_ID, **changed: object) -> dict[str, Any]:
    """Return a good hook call with the smallest chart."""
    return {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/1", "patientId": patient_id},
        "prefetch": {
            "patient": {
                "resourceType": "Patient",
                "id": patient_id,
                "name": [{"family": FAMILY_NAME}],
                "birthDate": BIRTH_DATE,
            },
            "procedures": {"resourceType": "Bundle", "type": "searchset", "entry": []},
        },
        **changed,
    }


Answer = Callable[[str, Mapping[str, str]], tuple[int, dict[str, str], bytes]]


@contextmanager
def listening(answer: Answer | None = None) -> Iterator[tuple[int, list[str]]]:
    """Listen on this machine; yields the port and the paths that were asked for."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(self.path)
            status, headers, body = (
                answer(self.path, dict(self.headers)) if answer else (200, {}, b"{}")
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name http.server asks for

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with _serving(Handler) as port:
        yield port, seen


@contextmanager
def prefix_proxy(target: int, prefix: str, port: int) -> Iterator[None]:
    """Run a reverse proxy that serves the service on *target* under the path *prefix*."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            path = re.sub(f"^{re.escape(prefix)}", "", self.path)
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            headers["X-Forwarded-Host"] = self.headers.get("Host", "")
            headers["X-Forwarded-Prefix"] = prefix
            answer = requests.request(
                self.command,
                f"http://127.0.0.1:{target}{path}",
                data=body,
                headers=headers,
                timeout=20,
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in {"Connection", "Content-Length", "Server", "Date"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_OPTIONS = do_POST  # noqa: N815 - the names http.server asks for

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with _serving(Handler, port):
        yield


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler], port: int = 0) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
