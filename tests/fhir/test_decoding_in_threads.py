"""Many first calls at once: what reads them is ready before any thread asks for it."""

from __future__ import annotations

import subprocess
import sys

FIRST_CALLS = """
import sys, threading
from cds_service.fhir import wire
from cds_service.fhir.decoding import read_resource
from cds_service.fhir.prefetch import read_page
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.hooks.request import parse_request

CALL = (
    b'{"hook":"patient-view","hookInstance":"7c0d0b53-5fd3-4c62-9c93-3f5a0f1c2d11",'
    b'"context":{"userId":"Practitioner/1","patientId":"p"}}'
)
KINDS = [wire.Procedure, wire.Condition, wire.ServiceRequest, wire.DiagnosticReport, wire.Patient]
start = threading.Barrier(10)
sys.setswitchinterval(1e-6)

def read(position):
    start.wait()
    parse_request(CALL, service_id=SERVICE_ID, allows_as_of=False)
    read_resource(b'{"code": {"coding": [{"code": "1"}]}}', KINDS[position % len(KINDS)])
    read_page("procedures", b'{"resourceType": "Bundle", "entry": [{"resource": {}}]}')

threads = [threading.Thread(target=read, args=(position,)) for position in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_first_calls_from_many_threads_do_not_end_the_process() -> None:
    """Ten threads that read their first requests and resources at once all get an answer."""
    for _ in range(4):
        command = [sys.executable, "-c", FIRST_CALLS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr[-500:]
        assert "Error" not in done.stderr, done.stderr[-500:]
