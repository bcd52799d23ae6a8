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


def test_o9_a_browser_gets_a_page_of_a_repository_and_clients_none(hub: Any) -> None:
    public, private = hub.repo("dataset"), hub.repo(private=True)
    paths = [f"/datasets/{public}", f"/datasets/{public}/tree/main", f"/datasets/{public}/commit/{'1' * 40}"]
    pages = [hub.call("GET", path, token="", Accept="text/html,*/*;q=0.8") for path in paths]
    hidden, missing = (hub.call("GET", path, token="", Accept="text/html") for path in (f"/{private}", "/alice/no-such-one"))
    elsewhere = hub.call("GET", "/no/such/thing/here", token="", Accept="text/html")
    plain = hub.call("GET", f"/datasets/{public}", token="")

    assert [page.status for page in pages] == [200] * 3
    assert all(f"git clone {hub.url}/datasets/{public}\n".encode() in page.body for page in pages)
    assert f"hf download {public} --repo-type dataset".encode() in pages[0].body
    assert f"git show {'1' * 40}".encode() in pages[2].body
    assert hub.call("GET", f"/{private}", Accept="text/html").status == 200
    assert (hidden.status, missing.status, elsewhere.status) == (404, 404, 404)
    assert hidden.body.replace(private.encode(), b"alice/no-such-one") == missing.body
    assert b"<h1>Nothing here</h1>" in elsewhere.body
    assert (plain.status, plain.headers["Content-Type"].split(";")[0]) == (404, "application/json")
    assert hub.call("POST", "/api/no-such-thing", {}).status == 404


def test_o9_home_offers_to_register_where_that_is_open(hub: Any) -> None:
    body = hub.call("GET", "/", token="").body

    assert f"{hub.url}/api/auth/register".encode() in body
    assert b"script-src" not in body
