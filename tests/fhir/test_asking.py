"""A request to a FHIR server is what it says, byte for byte, and nothing can be put into it."""

from __future__ import annotations

import pytest

from cds_service.fhir.asking import FORM, Question

HEADERS = ("Host: ehr.example", "Accept: application/fhir+json")


def test_search_is_one_head_without_a_body() -> None:
    """Method, address, our lines, token, and an empty line."""
    question = Question(url="https://ehr.example/fhir/Condition?patient=1&_count=200")
    assert question.as_sent(HEADERS, "a.b-c") == (
        b"GET /fhir/Condition?patient=1&_count=200 HTTP/1.1\r\n"
        b"Host: ehr.example\r\nAccept: application/fhir+json\r\n"
        b"Authorization: Bearer a.b-c\r\n\r\n"
    )


def test_search_by_post_says_what_and_how_long_its_body_is() -> None:
    """Without a token there is no line for one."""
    question = Question(
        url="https://ehr.example/fhir/Condition/_search", body=b"patient=1", content_type=FORM
    )
    assert question.as_sent(HEADERS, None) == (
        b"POST /fhir/Condition/_search HTTP/1.1\r\n"
        b"Host: ehr.example\r\nAccept: application/fhir+json\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\npatient=1"
    )


def test_address_without_a_path_asks_for_the_root() -> None:
    """The line would have no address otherwise."""
    assert Question(url="https://ehr.example").as_sent((), None) == b"GET / HTTP/1.1\r\n\r\n"
    asked = Question(url="https://ehr.example?a=1").as_sent((), None)
    assert asked == b"GET /?a=1 HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("sign", ["\r\n", "\n", "\r", " ", "\x00", "\x7f", "\u2028", "é"])
def test_address_that_would_end_its_line_is_not_sent(sign: str) -> None:
    """Neither is one that no server would understand; some signs urlsplit takes out itself."""
    question = Question(url=f"https://ehr.example/fhir/Condition?a=1{sign}X-Other:2")
    try:
        sent = question.as_sent(HEADERS, None)
    except ValueError:
        return
    assert sent.split(b"\r\n")[0] == b"GET /fhir/Condition?a=1X-Other:2 HTTP/1.1"
    assert sent.count(b"\r\n") == len(HEADERS) + 2


@pytest.mark.parametrize("sign", ["\r\n", "\n", "\r", "\x00", "\x7f", "\u2028", "é"])
def test_token_that_would_end_its_line_is_not_sent(sign: str) -> None:
    """It comes from the EHR."""
    question = Question(url="https://ehr.example/fhir/Condition")
    with pytest.raises(ValueError):  # noqa: PT011 - its text is for nobody
        question.as_sent(HEADERS, f"abc{sign}X-Other: 1")
