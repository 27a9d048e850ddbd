"""The description of the interface: its examples work, and what it says is what the server does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.server.conftest import LIMITS, Site

from xpose.server import openapi


def test_the_examples_work_as_they_are(site: Site):
    document = site.ask("GET", "/openapi.json")[1]
    assert document == openapi.document(LIMITS, with_keys=False)
    for path in ("/v1/detect", "/v1/prompts"):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        status, answer = site.post(path, example)
        assert status == 200, answer
    for path, methods in document["paths"].items():
        if "get" in methods:
            assert site.ask("GET", path)[0] == 200


def test_references_lead_to_schemas():
    document = openapi.document(LIMITS, with_keys=True)
    names = set(document["components"]["schemas"])
    text = str(document)
    assert all(f"#/components/schemas/{name}" in text for name in names)
    assert text.count("#/components/schemas/") == sum(text.count(f"#/components/schemas/{name}'") for name in names)


@pytest.mark.parametrize("path", ["/v1/detect", "/v1/prompts"])
def test_requests_made_from_the_description_get_a_described_answer(site: Site, path: str):
    schemathesis = pytest.importorskip("schemathesis")
    operation = schemathesis.openapi.from_url(f"{site.address}/openapi.json")[path]["POST"]

    @settings(max_examples=5, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def check(case: Any) -> None:
        answer = case.call()
        assert answer.status_code in (200, 400, 404, 413, 415, 422), answer.text
        assert ("detail" in answer.json()) == (answer.status_code != 200)

    check()
