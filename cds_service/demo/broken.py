"""What happens when an EHR gets it wrong?  Requests that are broken on purpose, one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cds_service.demo.hook_client import Exchange, HookClient
from cds_service.demo.personas import Resource
from cds_service.demo.prefetch import Opening, RequestWriter

SLOW_SECONDS = 2.0
HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a broken request is made of; ``other_patient_id`` is somebody else's chart."""

    client: HookClient
    writer: RequestWriter
    opening: Opening
    templates: Mapping[str, str]
    other_patient_id: str

    def good(self, opening: Opening | None = None) -> Resource:
        """Return a good request, to be broken."""
        return self.writer.request(opening or self.opening, self.templates)

    def send(self, request: Resource) -> Exchange:
        """Send *request* with a good token."""
        return self.client.call(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """One way to be wrong; ``expectation`` says what a trustworthy service does."""

    id: str
    title: str
    expectation: str
    send: Callable[[Bench], Exchange]


def _encoded(request: Resource) -> bytes:
    return json.dumps(request).encode()


def _without_token(bench: Bench) -> Exchange:
    return bench.client.send_hook(_encoded(bench.good()), None)


def _with_wrong_signature(bench: Bench) -> Exchange:
    head, payload, signature = bench.client.token(bench.client.hook_url).split(".")
    token = f"{head}.{payload}.{signature[::-1]}"
    return bench.client.send_hook(_encoded(bench.good()), token)


def _with_expired_token(bench: Bench) -> Exchange:
    token = bench.client.token(bench.client.hook_url, seconds_ago=HOUR_SECONDS)
    return bench.client.send_hook(_encoded(bench.good()), token)


def _with_used_token(bench: Bench) -> Exchange:
    token = bench.client.token(bench.client.hook_url)
    bench.client.send_hook(_encoded(bench.good()), token)
    return bench.client.send_hook(_encoded(bench.good()), token)


def _with_other_patients_procedures(bench: Bench) -> Exchange:
    request = bench.good()
    query = f"Procedure?patient={bench.other_patient_id}"
    request["prefetch"]["procedures"] = bench.writer.resolve(query)
    return bench.send(request)


def _with_other_patients_token(bench: Bench) -> Exchange:
    request = bench.good(bench.opening.by_pull())
    request["fhirAuthorization"]["patient"] = bench.other_patient_id
    return bench.send(request)


def _without_procedures(bench: Bench) -> Exchange:
    request = bench.good()
    del request["prefetch"]["procedures"]
    return bench.send(request)


def _without_orders(bench: Bench) -> Exchange:
    request = bench.good()
    del request["prefetch"]["serviceRequests"]
    return bench.send(request)


def _with_slow_server(bench: Bench) -> Exchange:
    return bench.send(bench.good(bench.opening.by_pull(delay_seconds=SLOW_SECONDS)))


def _with_refusing_server(bench: Bench) -> Exchange:
    refused = frozenset({"Observation"})
    return bench.send(bench.good(bench.opening.by_pull(refused_types=refused)))


def _cut(bench: Bench) -> Exchange:
    body = _encoded(bench.good())
    token = bench.client.token(bench.client.hook_url)
    return bench.client.send_hook(body[: len(body) // 2], token)


def _for_another_hook(bench: Bench) -> Exchange:
    return bench.send({**bench.good(), "hook": "order-sign"})


BREAKAGES = (
    Breakage(
        id="no-token",
        title="No token",
        expectation="401. The answer gives no reason.",
        send=_without_token,
    ),
    Breakage(
        id="wrong-signature",
        title="Forged signature",
        expectation="401. The answer gives no reason.",
        send=_with_wrong_signature,
    ),
    Breakage(
        id="expired-token",
        title="Token from an hour ago",
        expectation="401. The answer gives no reason.",
        send=_with_expired_token,
    ),
    Breakage(
        id="used-token",
        title="The same token twice",
        expectation="The first call is answered, this second one gets 401.",
        send=_with_used_token,
    ),
    Breakage(
        id="other-patient",
        title="Another patient's procedures",
        expectation="200 without a card from the other chart: foreign entries are set aside.",
        send=_with_other_patients_procedures,
    ),
    Breakage(
        id="other-patient-token",
        title="Access token of another patient",
        expectation="400. The access token is not used.",
        send=_with_other_patients_token,
    ),
    Breakage(
        id="no-procedures",
        title="No procedures, no FHIR server",
        expectation="412: without operations nothing can be judged, and silence would mislead.",
        send=_without_procedures,
    ),
    Breakage(
        id="no-orders",
        title="No orders, no FHIR server",
        expectation="200. Cards come without orders and say what could not be read.",
        send=_without_orders,
    ),
    Breakage(
        id="slow-fhir",
        title="FHIR server needs 2 seconds",
        expectation=(
            "412 when the deadline is over: the chart did not come in time. The service then "
            "leaves this FHIR server alone for a few seconds."
        ),
        send=_with_slow_server,
    ),
    Breakage(
        id="refusing-fhir",
        title="FHIR server refuses observations",
        expectation="200. What could not be read is said, and never taken as normal.",
        send=_with_refusing_server,
    ),
    Breakage(
        id="cut-json",
        title="Request cut in half",
        expectation="400, with where and what, and nothing of the chart repeated.",
        send=_cut,
    ),
    Breakage(
        id="another-hook",
        title="Another hook",
        expectation="400. This service answers patient-view only.",
        send=_for_another_hook,
    ),
)
