"""Every answer that is not a success is a FHIR OperationOutcome, and every SHALL is enforced."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome
from werkzeug.test import TestResponse

from cds_service.errors import SettingsError
from cds_service.trust.config import load_config
from tests.contract.checker import empty_values
from tests.contract.ehrs import DISCOVERY, FEEDBACK, SERVICE, Ehr
from tests.contract.requests import Request, vignette_requests
from tests.everything_written import ACCESS_TOKEN

TOKEN = {
    "access_token": ACCESS_TOKEN,
    "token_type": "Bearer",
    "expires_in": 300,
    "scope": "user/Observation.read",
    "subject": "post-laminectomy-cds",
}
FHIR_SERVER = "https://fhir.hospital.example/r4"


@pytest.fixture
def body() -> Request:
    """Return a good request."""
    _, request = next(vignette_requests())
    return copy.deepcopy(request)


def _outcome(answer: TestResponse) -> OperationOutcome:
    assert answer.mimetype == "application/json"
    assert list(empty_values(answer.get_json(), "$")) == []
    return OperationOutcome.model_validate_json(answer.data)


def _post(ehr: Ehr, path: str = SERVICE, **sent: Any) -> TestResponse:  # noqa: ANN401 - as Flask takes it
    return ehr.http.post(path, headers=ehr.bearer(path), **sent)


REFUSALS: dict[str, tuple[int, Callable[[Ehr, Request], TestResponse]]] = {
    "a broken request": (400, lambda ehr, body: ehr.call({**body, "hook": "order-sign"})),
    "a stranger": (401, lambda ehr, body: ehr.http.post(SERVICE, json=body)),
    "a stranger at discovery": (401, lambda ehr, _: ehr.http.get(DISCOVERY)),
    "an unknown service": (404, lambda ehr, body: _post(ehr, f"{DISCOVERY}/other", json=body)),
    "another method": (405, lambda ehr, _: ehr.http.get(SERVICE)),
    "no operations": (412, lambda ehr, body: ehr.call(_without(body, "procedures"))),
    "another media type": (
        415,
        lambda ehr, _: _post(ehr, data="<a/>", content_type="application/xml"),
    ),
    "feedback of which nothing can be kept": (400, lambda ehr, _: ehr.tell({"card": "x"})),
    "feedback of a stranger": (401, lambda ehr, _: ehr.http.post(FEEDBACK, json={"feedback": []})),
}


def _without(body: Request, key: str) -> Request:
    prefetch = {name: value for name, value in body["prefetch"].items() if name != key}
    return {**body, "prefetch": prefetch}


@pytest.mark.parametrize(("status", "call"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal_is_an_operation_outcome(
    ehrs: dict[str, Ehr],
    body: Request,
    status: int,
    call: Callable[[Ehr, Request], TestResponse],
) -> None:
    """A client of any version can show or log why; nothing in it is null or empty."""
    answer = call(ehrs["3.0"], body)
    assert answer.status_code == status
    assert _outcome(answer).issue
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_missing_required_data_names_the_key(ehrs: dict[str, Ehr], body: Request) -> None:
    """412 names the prefetch key in diagnostics and expression, as the specification's example."""
    for key in ("patient", "procedures"):
        answer = ehrs["2.0.1"].call(_without(body, key))
        [issue] = _outcome(answer).issue
        assert answer.status_code == 412
        assert (issue.severity, issue.code, issue.diagnostics) == ("error", "processing", key)
        assert issue.expression == [f"prefetch.{key}"]


OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patient", None),
        ("patient", OUTCOME),
        ("patient", {"resourceType": "Patient", "id": "another"}),
        ("patient", "<html>"),
        ("procedures", OUTCOME),
        ("procedures", "<html>"),
    ],
)
def test_required_data_sent_in_vain_are_missing(
    ehrs: dict[str, Ehr], body: Request, key: str, value: object
) -> None:
    """No patient, another patient, an error or a web page in place of data: 412 names the key."""
    body["prefetch"][key] = value
    answer = ehrs["2.0.1"].call(body)
    assert answer.status_code == 412
    assert _outcome(answer).issue[0].diagnostics == key


def test_stranger_learns_nothing(ehrs: dict[str, Ehr], body: Request) -> None:
    """The OperationOutcome of a 401 is the same for every reason."""
    ehr = ehrs["3.0"]
    bad = [
        {},
        {"Authorization": "Bearer x.y.z"},
        {"Authorization": f"Bearer {ehr.token(DISCOVERY)}"},
        {"Authorization": f"Bearer {ehr.token(SERVICE, iss='https://elsewhere.example')}"},
    ]
    answers = {ehr.http.post(SERVICE, json=body, headers=header).data for header in bad}
    assert len(answers) == 1


REQUIRED = ("hook", "hookInstance", "context", "context.userId", "context.patientId")


@pytest.mark.parametrize("path", REQUIRED)
@pytest.mark.parametrize("value", ["missing", None, 7, ""])
def test_required_field_is_required(
    ehrs: dict[str, Ehr], body: Request, path: str, value: object
) -> None:
    """A request without one, or with one of another type, is refused with the place."""
    *outer, name = path.split(".")
    place = body[outer[0]] if outer else body
    if value == "missing":
        place.pop(name)
    else:
        place[name] = value
    answer = ehrs["2.0.1"].call(body)
    assert answer.status_code == 400
    assert _outcome(answer).issue[0].expression == [path]


@pytest.mark.parametrize("name", TOKEN)
def test_access_token_comes_with_all_its_fields(
    ehrs: dict[str, Ehr], body: Request, name: str
) -> None:
    """An access token object without one of its required fields is refused."""
    token = {field: value for field, value in TOKEN.items() if field != name}
    answer = ehrs["3.0"].call({**body, "fhirServer": FHIR_SERVER, "fhirAuthorization": token})
    assert answer.status_code == 400
    assert _outcome(answer).issue[0].expression == [f"fhirAuthorization.{name}"]


def test_invariant_cds_r_1(ehrs: dict[str, Ehr], body: Request) -> None:
    """cds-r-1: an access token without the server it is for is refused."""
    answer = ehrs["3.0"].call({**body, "fhirAuthorization": TOKEN})
    assert answer.status_code == 400
    assert _outcome(answer).issue[0].expression == ["fhirServer"]


@pytest.mark.parametrize("scope", ["patient/*.read", "patient/Observation.rs", "user/*.read", "x"])
def test_invariant_cds_r_2(ehrs: dict[str, Ehr], body: Request, scope: str) -> None:
    """cds-r-2 is a warning: patient scopes without the patient are answered, in every grammar."""
    token = {**TOKEN, "scope": scope}
    answer = ehrs["3.0"].call({**body, "fhirServer": FHIR_SERVER, "fhirAuthorization": token})
    assert answer.status_code == 200


def test_token_for_another_patient_is_refused(ehrs: dict[str, Ehr], body: Request) -> None:
    """A token limited to one patient opens no chart of another."""
    token = {**TOKEN, "patient": "p2"}
    answer = ehrs["3.0"].call({**body, "fhirServer": FHIR_SERVER, "fhirAuthorization": token})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("user", "status"),
    [("Practitioner/a-1.b_2", 200), ("a", 400), ("Practitioner/", 400), ("/a", 400), ("A/ b", 400)],
)
def test_invariant_ord_1(ehrs: dict[str, Ehr], body: Request, user: str, status: int) -> None:
    """ord-1: userId is a type, a slash and an id."""
    body["context"]["userId"] = user
    assert ehrs["3.0"].call(body).status_code == status


CONFIG = """[service]
public_base_url = "https://cds.example"
identity_key = "{key}"
[[clients]]
id = "hospital"
issuers = ["https://ehr.example"]
jwks_url = "https://ehr.example/jwks.json"
fhir_bases = ["https://ehr.example/r4"]
"""


@pytest.mark.parametrize(
    "address", ["https://cds.example", "https://ehr.example/jwks", "https://ehr.example/r4"]
)
def test_production_speaks_https_only(tmp_path: Path, address: str) -> None:
    """A production service does not start when one of its addresses is plain http."""
    path = tmp_path / "cds.toml"
    good = CONFIG.format(key="5a" * 32)
    path.write_text(good, encoding="utf-8")
    assert load_config(path).clients
    path.write_text(good.replace(address, address.replace("https", "http")), encoding="utf-8")
    with pytest.raises(SettingsError, match="https"):
        load_config(path)
