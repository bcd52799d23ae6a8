"""What stands around every request."""

from typing import Any


def test_unknown_api_paths_are_json(hub: Any) -> None:
    answer = hub.call("GET", "/api/no/such/thing/here", token="")

    assert answer.status == 404
    assert "nothing at" in answer.json()["error"]


def test_wrong_method_names_the_right_ones(hub: Any) -> None:
    answer = hub.call("DELETE", "/healthz", token="")

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_request_ids_come_back(hub: Any) -> None:
    assert hub.call("GET", "/healthz", token="", X_Request_Id="one").headers["X-Request-Id"] == "one"
    assert hub.call("GET", "/healthz", token="", X_Amzn_Trace_Id="Root=1-2").headers["X-Request-Id"] == "Root=1-2"


def test_home_is_inert_and_escapes_the_host(hub: Any) -> None:
    answer = hub.call("GET", "/", token="", Host='x"><script>alert(1)</script>')

    assert answer.status in (200, 400)
    assert b"<script>" not in answer.body
    if answer.status == 200:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_every_answer_forbids_sniffing(hub: Any) -> None:
    assert hub.call("GET", "/api/version", token="").headers["X-Content-Type-Options"] == "nosniff"
