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
    refused = {
        422: (put(HALF), put(f"x/{HALF}.txt"), line("deletedFile", path=HALF), line("copyFile", path="x", srcPath=HALF)),
        404: (
            line("copyFile", path="x", srcPath="a.txt", srcRevision=HALF),
            line("copyFile", path="x", srcPath="a.txt", srcRevision="\udcff"),
        ),
        400: (
            line("file", path="x", content=HALF),
            line("file", path="x", content=HALF, encoding="utf-8"),
            line("file", path="x", content="eA==", encoding=HALF),
            line("lfsFile", path="x", oid=HALF * 64),
            line(HALF, path="x"),
            RAW_HALF,
        ),
    }
    for status, lines in refused.items():
        assert [target.commit(head(), one).status for one in lines] == [status] * len(lines)
    assert [target.commit(head(parentCommit=HALF)).status, target.commit(head(HALF * 5, description=5)).status] == [400, 400]
    assert (target.tip(), target.stored()) == (tip, stored)


def test_halves_of_characters_in_a_message(target: Target) -> None:
    assert target.commit(head(f"a{HALF}b", description=f"c{HALF}d"), put("x.txt")).status == 200
    newest = target.history()[0]

    assert (newest["title"], newest["message"]) == ("a?b", "c?d")


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

    assert status("/branch/x", startingPoint=HALF) == 404
    assert status("/tag/main", tag=HALF) == 400
    assert status("/tag/main", tag="noted", message=f"a{HALF}b") == 200
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
