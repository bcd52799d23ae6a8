"""Names that git can hold and few clients expect: every one that a list shows is found by every route."""

import base64
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from hfcompat.wire import decode_cursor, decode_path_cursor, encode_cursor
from storage.errors import Invalid
from tests.hfcompat.commits import Target, head, line, put

COMMIT = "1" * 40
NAMES = (b"caf\xe9", b"caf%E9", b"caf\xe8", b"line\nfeed", b"d\xe9/x\xff.txt", b"{b}", b"plain")
SPELLED = ["caf%25E9", "caf%E9", "caf%E8", "line\nfeed", "d%E9/x%FF.txt", "{b}", "plain"]


@dataclass(frozen=True)
class Odd:
    hub: Any
    name: str

    @property
    def api(self) -> str:
        return f"/api/models/{self.name}"

    def get(self, path: str) -> Any:
        return self.hub.call("GET", path)


def quoted(name: bytes) -> bytes:
    return b'"' + b"".join(b"\\%03o" % byte for byte in name) + b'"'


@pytest.fixture(scope="module")
def odd(hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Odd:
    """`NAMES`, each with itself in it, and a submodule, on main and branches of odd names."""
    name, work = hub.repo(), tmp_path_factory.mktemp("odd")
    lines = [b"commit refs/heads/main", b"committer A <a@b.c> 1600000000 +0000", b"data 1", b"m"]
    for path in NAMES:
        lines += [b"M 100644 inline " + quoted(path), b"data %d" % len(path), path]
    lines += [f"M 160000 {COMMIT} module".encode(), b"M 160000 " + COMMIT.encode() + b' "d\\351/module"', b""]
    subprocess.run(["git", "init", "-q", "--bare", work], check=True)
    subprocess.run(["git", "fast-import", "--quiet"], input=b"\n".join(lines), check=True, cwd=work)
    refs = [b"refs/heads/main", b"refs/heads/x{y}", b"refs/heads/gr\xfcn", b"refs/tags/v\xe9"]
    for ref in refs[1:]:
        subprocess.run([b"git", b"update-ref", ref, b"refs/heads/main"], check=True, cwd=work)
    subprocess.run([b"git", b"push", b"-q", hub.git_url(name).encode(), *refs], check=True, cwd=work)
    return Odd(hub, name)


def test_h6_every_listed_path_is_found(odd: Odd) -> None:
    rows = [row for row in odd.get(f"{odd.api}/tree/main?recursive=true").json() if row["type"] == "file"]
    siblings = [row["rfilename"] for row in odd.get(odd.api).json()["siblings"]]
    form = "&".join("paths=" + quote(path) for path in SPELLED).encode()
    asked = odd.hub.call("POST", f"{odd.api}/paths-info/main", form, Content_Type="application/x-www-form-urlencoded").json()
    bodies = {path: odd.get(f"/{odd.name}/resolve/main/{quote(path)}").body for path in SPELLED}

    assert sorted(row["path"] for row in rows) == sorted(SPELLED) == sorted(siblings)
    assert [row["path"] for row in asked] == SPELLED
    assert bodies == dict(zip(SPELLED, NAMES, strict=True))
    assert odd.get(f"/{odd.name}/raw/main/caf%E8").body == b"caf\xe8", "as git itself would quote it"
    assert [row["path"] for row in odd.get(f"{odd.api}/tree/main/d%25E9").json()] == ["d%E9/x%FF.txt"]


def test_h6_pages_through_odd_names(odd: Odd) -> None:
    found, path = [], f"{odd.api}/tree/main?limit=1"
    while path:
        answer = odd.get(path)
        found += [row["path"] for row in answer.json()]
        path = answer.headers.get("Link", "").split(">")[0].removeprefix(f"<{odd.hub.url}")

    assert sorted(found) == sorted([*(name for name in SPELLED if "/" not in name), "d%E9"])


def test_h6_every_listed_ref_is_found(odd: Odd) -> None:
    refs = odd.get(f"{odd.api}/refs").json()
    names = [row["name"] for kind in ("branches", "tags") for row in refs[kind]]

    assert names == ["gr%FCn", "main", "x{y}", "v%E9"]
    for rev in [*names, *(row["ref"] for kind in ("branches", "tags") for row in refs[kind])]:
        asked = quote(rev, safe="")
        paths = (
            f"{odd.api}/tree/{asked}",
            f"{odd.api}/revision/{asked}",
            f"{odd.api}/commits/{asked}",
            f"/{odd.name}/raw/{asked}/plain",
        )
        assert [odd.get(path).status for path in paths] == [200] * 4, rev


def test_h6_odd_names_are_written_and_deleted(hub: Any, odd: Odd) -> None:
    target = Target(hub, odd.name)
    assert hub.call("POST", f"{odd.api}/branch/w%7Bz%7D", {"startingPoint": "gr%FCn"}).status == 200
    lines = (
        put("caf%E8", b"new"),
        line("deletedFile", path="d%E9/x%FF.txt"),
        line("copyFile", path="copy", srcPath="caf%25E9"),
    )
    assert target.commit(head(), *lines, branch="w{z}").status == 200
    tree = target.tree("w%7Bz%7D")

    assert target.read("caf%E8", "w%7Bz%7D") == b"new"
    assert sorted(tree) == sorted([*(name for name in SPELLED if "/" not in name), "copy"])
    assert hub.call("POST", f"{odd.api}/branch/gr%25FCn").status == 409
    assert hub.call("DELETE", f"{odd.api}/branch/w%7Bz%7D").status == 200


def test_h8_submodules_are_no_files(odd: Odd) -> None:
    rows = odd.get(f"{odd.api}/tree/main?recursive=true&expand=true").json()
    asked = odd.hub.call("POST", f"{odd.api}/paths-info/main", {"paths": ["module", "plain"]}).json()
    answer = odd.get(f"/{odd.name}/resolve/main/module")

    assert not [row for row in rows if "module" in row["path"]]
    assert [row["path"] for row in asked] == ["plain"]
    assert (answer.status, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert "submodule" in answer.json()["error"]


def foreign(path: str) -> str:
    """As text-generation-webui makes it, which is how huggingface.co's own look."""
    return base64.b64encode(base64.b64encode(f'{{"file_name":"{path}"}}'.encode()) + b":50").decode()


def test_h9_a_cursor_that_clients_build_themselves(odd: Odd) -> None:
    first = odd.get(f"{odd.api}/tree/main?limit=3").json()
    rest = odd.get(f"{odd.api}/tree/main?cursor={quote(foreign(first[-1]['path']))}").json()
    whole = odd.get(f"{odd.api}/tree/main").json()

    assert first + rest == whole
    assert odd.get(f"{odd.api}/tree/main?cursor={foreign(whole[-1]['path'])}").json() == []
    assert odd.get(f"{odd.api}/tree/main?cursor={base64.b64encode(b'plain').decode()}").status == 400


@pytest.mark.parametrize("value", ["", "a", "!!", "YWJj", "\ud800", base64.b64encode(b"e30=:50").decode(), foreign("x")[:-8]])
def test_h9_other_cursors_are_refused(value: str) -> None:
    for decode in (decode_cursor, decode_path_cursor):
        with pytest.raises(Invalid):
            decode(value)


def test_h9_own_cursors() -> None:
    for path in (b"", b"a/b", b"\xff:50", b"x" * 999):
        assert decode_cursor(encode_cursor(path)) == decode_path_cursor(encode_cursor(path)) == path
    assert decode_path_cursor(foreign('a "b" é>?').replace("+", " ")) == 'a "b" é>?'.encode()
