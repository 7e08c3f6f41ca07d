"""How much does a flood of bad calls slow a good client?  ``python -m tests.security.flood``.

A good EHR calls once after the other, first alone, then while attackers on this machine send bad
calls as fast as they are answered.  Attackers and service share its processors, so the factors are
on the high side.
"""

from __future__ import annotations

import json
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import requests
from cryptography.hazmat.primitives.asymmetric import ec

from tests.ports import free_port
from tests.security.lab import SERVICE, Ehr, Service, hook_body, running_service

CALLS = 300
ATTACKERS = 8
"""Processes, each with one connection it keeps open."""


def attack(port: int, token: str) -> None:
    """Send bad calls until killed."""
    head = f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    call = f"{head}Authorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as server:
            while True:
                server.sendall(call)
                if not server.recv(65_536):
                    break


def _milliseconds(service: Service, ehr: Ehr) -> list[float]:
    """Return how long each of many good calls took."""
    body = json.dumps(hook_body())
    found = []
    with requests.Session() as session:
        for _ in range(CALLS):
            headers = {
                "Authorization": f"Bearer {ehr.token()}",
                "Content-Type": "application/json",
            }
            started = time.perf_counter()
            answer = session.post(service.url + SERVICE, data=body, headers=headers, timeout=20)
            found.append((time.perf_counter() - started) * 1000)
            assert answer.status_code == 200
    return sorted(found)


def _told(name: str, found: list[float], alone: list[float], refused: float | None) -> str:
    middle, late = statistics.median(found), found[int(len(found) * 0.99)]
    factor = middle / statistics.median(alone)
    rate = "" if refused is None else f", {refused:6.0f} bad calls a second refused"
    return f"{name:34} p50 {middle:6.1f} ms, p99 {late:6.1f} ms, factor {factor:4.1f}{rate}"


def _refusals(service: Service) -> int:
    return service.log.read_bytes().count(b'"refused"')


def main() -> None:
    """Measure and print."""
    port = free_port()
    ehr = Ehr(f"http://127.0.0.1:{port}")
    forger = replace(ehr, key=ec.generate_private_key(ec.SECP384R1()))
    floods = {
        "no real token": "garbage",
        "token of an unknown issuer": ehr.token(iss="https://unknown.example"),
        "forged signature of a known EHR": forger.token(),
        "used token of a known EHR": ehr.token(),
    }
    config = (
        f'[service]\npublic_base_url = "http://127.0.0.1:{port}"\nstate_dir = "state"\n'
        f'identity_key = "{secrets.token_hex(32)}"\naccept_unreviewed_content = true\nworkers = 2\n'
        + ehr.profile("hospital", "rate_per_second = 10000", "burst = 100000")
    )
    folder = Path(tempfile.mkdtemp(prefix="flood-"))
    with running_service(folder, config, port=port) as service:
        _milliseconds(service, ehr)
        alone = _milliseconds(service, ehr)
        sys.stdout.write(_told("alone", alone, alone, None) + "\n")
        for name, token in floods.items():
            with ExitStack() as attackers:
                for _ in range(ATTACKERS):
                    command = [sys.executable, "-m", "tests.security.flood", str(port), token]
                    attacker = subprocess.Popen(command)  # noqa: S603 - our own program
                    attackers.callback(attacker.wait)
                    attackers.callback(attacker.kill)
                time.sleep(3)
                before, started = _refusals(service), time.perf_counter()
                found = _milliseconds(service, ehr)
                rate = (_refusals(service) - before) / (time.perf_counter() - started)
            sys.stdout.write(_told(name, found, alone, rate) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        attack(int(sys.argv[1]), sys.argv[2])
    else:
        main()
