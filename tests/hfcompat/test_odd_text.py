"""Text that is none: halves of characters from JSON, digits that are no numbers, in every field that reaches git or SQL."""

import subprocess
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.hfcompat.commits import Target, head, line, put

HALF = "\ud800"
RAW_HALF = b'{"key": "file", "value": {"path": "\xed\xa0\x80", "content": ""}}\n'


@pytest.fixture
def target(hub: Any) -> Target:
    target = Target(hub, hub.repo())
    target.made(put("a.txt", b"a"))
    return target


def test_halves_of_characters_in_a_commit(target: Target) -> None:
    tip, stored = target.tip(), target.stored()
    refused = (
        put(HALF),
        put(f"x/{HALF}.txt"),
        line("deletedFile", path=HALF),
        line("copyFile", path="x", srcPath=HALF),
        line("copyFile", path="x", srcPath="a.txt", srcRevision="\udcff"),
        line("file", path="x", content=HALF, encoding="utf-8"),
        line("file", path="x", content="eA==", encoding=HALF),
        line("lfsFile", path="x", oid=HALF * 64),
        line(HALF, path="x"),
        RAW_HALF,
    )
    assert [target.commit(head(), one).status for one in refused] == [400] * len(refused)
    headers = (head(parentCommit=HALF), head(HALF * 5), head("a", description=f"c{HALF}d"))
    assert [target.commit(one, put("x.txt")).status for one in headers] == [400] * 3
    assert (target.tip(), target.stored()) == (tip, stored)


def test_h11_halves_of_characters_are_refused_where_json_is_read(hub: Any) -> None:
    """As user name, they were a 500 of the database; whole characters that are written as two escapes are taken."""
    register = {"username": "x", "email": "x@example.org", "password": "long enough"}
    routes = {
        "/api/auth/register": register | {"username": HALF},
        "/api/auth/login": {"username": HALF, "password": HALF},
        "/api/repos/create": {"name": HALF},
        "/api/validate-yaml": {"content": HALF},
        f"/{hub.repo()}.git/info/lfs/objects/batch": {"operation": "download", "objects": [], "ref": {"name": HALF}},
    }
    answers = [hub.call("POST", path, body) for path, body in routes.items()]

    assert [answer.status for answer in answers] == [400] * 5
    assert "half a character" in answers[0].json()["error"]
    assert hub.call("POST", "/api/validate-yaml", b'{"content": "\xed\xa0\x80"}').status == 400
    assert hub.call("POST", "/api/validate-yaml", b'{"content": "\\ud83d\\ude00"}').status == 200


def test_control_characters_in_a_message(target: Target) -> None:
    """What git takes stays; a NUL would end the message for git."""
    assert target.commit(head("a\0b\x1b[31m\r", description="\0\n\tc"), put("x.txt")).status == 200
    assert [target.commit(head(text)).status for text in ("", " \n", "\0", "\0 \0")] == [400] * 4
    assert target.commit(head("x" * 70_000)).status == 413

    assert target.history()[0]["title"] == "ab\x1b[31m"


def test_halves_of_characters_in_branches_and_tags(target: Target) -> None:
    repo = f"/api/models/{target.name}"

    def status(path: str, **body: Any) -> int:
        return int(target.hub.call("POST", repo + path, body).status)

    assert status("/branch/x", startingPoint=HALF) == 400
    assert status("/tag/main", tag=HALF) == 400
    assert status("/tag/main", tag="noted", message=f"a{HALF}b") == 400
    assert status("/tag/main", tag="\0") == 400


def test_a_tag_does_not_show_the_address_of_its_maker(target: Target, tmp_path: Path) -> None:
    assert target.hub.call("POST", f"/api/models/{target.name}/tag/main", {"tag": "v1", "message": "First"}).status == 200
    subprocess.run(["git", "clone", "-q", "--bare", f"{target.hub.url}/{target.name}.git", str(tmp_path / "r")], check=True)
    shown = subprocess.run(["git", "cat-file", "tag", "v1"], cwd=tmp_path / "r", capture_output=True, text=True, check=True).stdout

    assert "tagger alice <alice@users.noreply.kohakuhub>" in shown
    assert "example.org" not in shown


@pytest.mark.parametrize("digits", ["\u00b2", "\u0663", "1\u00b2", "-1", "1e3", "9" * 30, "%00"])
def test_numbers_that_are_none(target: Target, digits: str) -> None:
    repo = f"/api/models/{target.name}"
    for path in (f"{repo}/commits/main?p=", f"{repo}/commits/main?limit=", f"{repo}/tree/main?limit=", f"{repo}/tree/main?cursor="):
        assert target.hub.call("GET", path + quote(digits)).status < 500
    for path in ("/api/models?limit=", "/api/models?cursor=", "/api/datasets?skip="):
        assert target.hub.call("GET", path + quote(digits)).status < 500


def test_halves_of_characters_elsewhere(hub: Any) -> None:
    name = "t" + uuid.uuid4().hex[:10]
    bodies = [{"name": HALF}, {"name": name, "type": HALF}, {"name": name, "organization": HALF}, {"name": name, "visibility": HALF}]

    assert [hub.call("POST", "/api/repos/create", body).status for body in bodies] == [400] * 4
    answers = [hub.call("POST", "/api/validate-yaml", {"content": f"---\na: {HALF}\n---\n", "repoType": kind}) for kind in ("model", HALF)]
    assert all(answer.status in (200, 400) for answer in answers)
    assert hub.call("POST", f"/api/models/{hub.repo()}/paths-info/main", {"paths": [HALF]}).status in (200, 400, 404)
    assert hub.call("POST", "/api/repos/move", {"fromRepo": HALF, "toRepo": "alice/x", "type": "model"}).status in (400, 404)
