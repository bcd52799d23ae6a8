"""Bundles made ahead: asked for with the v2 command, downloaded by their own URL, used by a real git."""

import hashlib
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitserver.bundles.links import BundleLinks
from storage.errors import Forbidden, Invalid
from tests.gitserver import rawgit
from tests.gitserver.conftest import Git
from tests.harness.hubs import Answer, Hub, Launcher, run_guarded

LIMITS = {"bundle_repository_bytes": 20_000, "bundle_seconds": 1}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Small repositories have bundles here too."""
    yield from run_guarded(Launcher(tmp_path_factory.mktemp("bundles") / "data"), {"KOHAKU_HUB_LIMITS": json.dumps(LIMITS)})


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def listed(hub: Any, name: str) -> dict[str, str]:
    found = rawgit.v2(hub, name, rawgit.command("bundle-uri"))
    return dict(line.decode().split("=", 1) for line in found)


def awaited(hub: Any, name: str, other_than: str = "") -> dict[str, str]:
    """The list once a bundle is made; `other_than` is the token of one that shall have been replaced."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = listed(hub, name)
        if found and found["bundle.all.creationtoken"] != other_than:
            return found
        time.sleep(0.05)
    raise AssertionError("no bundle was made")


def fetched(url: str, method: str = "GET", **headers: str) -> Answer:
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=shown, method=method), timeout=60) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


def filled(hub: Hub, work: Git, *, private: bool = True) -> str:
    """A repository with history, tags of tags and a note; its name."""
    name = hub.repo(private=private)
    for number in range(5):
        work.commit(f"c{number}", {f"f{number}": noise(10_000, number), "dir/same": "same"})
    work("tag", "-a", "-m", "one", "v1", "HEAD~2")
    work("tag", "-a", "-m", "two", "v2", "v1")
    work("branch", "side/one", "HEAD~1")
    work("notes", "add", "-m", "noted", "HEAD")
    work("push", "-q", hub.git_url(name), "--all")
    work("push", "-q", hub.git_url(name), "--tags", "refs/notes/*:refs/notes/*")
    return name


def test_a_clone_begins_with_the_bundle(hub: Hub, work: Git, tmp_path: Path) -> None:
    name = filled(hub, work)
    shown = awaited(hub, name)
    url = shown.pop("bundle.all.uri")
    assert int(shown.pop("bundle.all.creationtoken")) > 1_700_000_000
    assert shown == {"bundle.version": "1", "bundle.mode": "all", "bundle.heuristic": "creationToken"}
    assert url.startswith(f"{hub.url}/api/git/")

    got = fetched(url)
    (tmp_path / "all.bundle").write_bytes(got.body)
    assert (got.status, got.headers["ETag"]) == (200, f'"{hashlib.sha1(got.body).hexdigest()}"')
    assert "The bundle records a complete history." in work("bundle", "verify", str(tmp_path / "all.bundle"))
    heads = {line.split()[1]: line.split()[0] for line in work("bundle", "list-heads", str(tmp_path / "all.bundle")).splitlines()}
    refs = {line.split()[1]: line.split()[0] for line in work("show-ref").splitlines() if "refs/notes/" not in line}
    assert heads == refs | {"HEAD": work("rev-parse", "main")}

    plain, client = Git(tmp_path / "plain"), Git(tmp_path / "client")
    plain("clone", "-q", str(tmp_path / "all.bundle"), ".")  # by hand, HEAD and all
    assert plain("rev-parse", "HEAD", "v2") == work("rev-parse", "main", "v2")
    client("clone", "-q", "--bare", f"--bundle-uri={url}", hub.git_url(name), ".")
    assert client("rev-parse", "refs/bundles/main", "refs/heads/side/one") == work("rev-parse", "main", "side/one")
    client("fsck", "--strict")
    assert client.objects() == {
        oid for oid in work("rev-list", "--objects", "--branches", "--tags").split("\n") for oid in [oid.split()[0]]
    }


def test_a_bundle_resumes(hub: Hub, work: Git) -> None:
    url = awaited(hub, filled(hub, work))["bundle.all.uri"]
    whole = fetched(url)
    head = fetched(url, "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(whole.body)))
    part = fetched(url, Range="bytes=100-", If_Range=whole.headers["ETag"])
    assert (part.status, part.body) == (206, whole.body[100:])
    assert fetched(url, Range="bytes=100-", If_Range='"another"').body == whole.body
    assert fetched(url, If_None_Match=whole.headers["ETag"]).status == 304
    assert fetched(url, Range=f"bytes={len(whole.body)}-").status == 416


def test_who_may_not_read_gets_nothing(hub: Hub, work: Git) -> None:
    name, other = filled(hub, work), hub.repo(private=True)
    url = awaited(hub, name)["bundle.all.uri"]
    body = rawgit.command("bundle-uri")
    assert rawgit.post(hub, name, body, token="").status == 401
    refused = rawgit.post(hub, name, body, token=hub.token2)
    missing = rawgit.post(hub, name + "x", body, token=hub.token2)
    assert (refused.status, refused.body) == (missing.status, missing.body) == (404, b"Repository not found.\n")

    repo_id = url.split("/api/git/")[1].split("/")[0]
    assert listed(hub, other) == {}
    for changed in (url[:-1] + ("0" if url[-1] != "0" else "1"), url.replace("expires=", "expires=9"), url.replace(repo_id, "0" * 32)):
        got = fetched(changed)
        assert (got.status, b"wrong" in got.body) == (403, True)
    assert fetched(url.split("?")[0]).status == 400
    assert hub.call("DELETE", "/api/repos/delete", {"name": name.split("/")[1], "type": "model"}).status == 200
    assert fetched(url).status == 404


def test_urls_expire() -> None:
    links = BundleLinks(b"k" * 32, -1)
    expires, signature = (part.split("=")[1] for part in links.url("", "0" * 32).split("?")[1].split("&"))
    with pytest.raises(Forbidden, match="expired"):
        links.check("0" * 32, expires, signature)
    with pytest.raises(Forbidden, match="wrong"):
        BundleLinks(b"j" * 32, -1).check("0" * 32, expires, signature)
    for odd in ("", "-1", "1" * 30, "٣"):
        with pytest.raises(Invalid):
            links.check("0" * 32, odd, signature)


def test_what_a_forced_push_took_away_is_in_no_bundle(hub: Hub, work: Git) -> None:
    name = hub.repo()
    base = work.commit("base", {"a": noise(30_000)})
    secret = work.commit("secret", {"password": noise(100, 9)})
    work("push", "-q", hub.git_url(name), "main")
    before = awaited(hub, name)
    assert fetched(before["bundle.all.uri"]).body.startswith(f"# v2 git bundle\n{secret} HEAD\n".encode())

    work("push", "-q", "-f", hub.git_url(name), f"{base}:refs/heads/main")
    gone = fetched(before["bundle.all.uri"])
    assert (gone.status, b"goes on without" in gone.body) == (404, True)
    after = awaited(hub, name)
    body = fetched(after["bundle.all.uri"]).body
    assert body.startswith(f"# v2 git bundle\n{base} HEAD\n".encode())
    assert fetched(before["bundle.all.uri"]).body == body  # a URL names the repository, and is as good as before


def test_a_deleted_tag_takes_the_bundle_with_it(hub: Hub, work: Git) -> None:
    name = filled(hub, work)
    awaited(hub, name)
    work("push", "-q", hub.git_url(name), ":refs/tags/v2", ":refs/tags/v1")
    body = fetched(awaited(hub, name)["bundle.all.uri"]).body
    assert b"refs/tags" not in body[:500]


def test_it_is_made_anew_when_the_repository_has_grown(hub: Hub, work: Git, tmp_path: Path) -> None:
    name = filled(hub, work)
    first = awaited(hub, name)
    small = work.commit("small", {"s": "small"})
    work("push", "-q", hub.git_url(name), "main")
    assert listed(hub, name)["bundle.all.creationtoken"] == first["bundle.all.creationtoken"]
    assert small.encode() not in fetched(first["bundle.all.uri"]).body
    client = Git(tmp_path / "behind")  # the bundle lies behind: the rest is fetched
    client("clone", "-q", f"--bundle-uri={first['bundle.all.uri']}", hub.git_url(name), ".")
    assert client("rev-parse", "HEAD", "refs/bundles/main") == work("rev-parse", "main", "main~1")

    work.commit("large", {"l": noise(60_000, 77)})
    work("push", "-q", hub.git_url(name), "main")
    second = awaited(hub, name, first["bundle.all.creationtoken"])
    assert work("rev-parse", "main").encode() in fetched(second["bundle.all.uri"]).body
    repo_id = second["bundle.all.uri"].split("/api/git/")[1].split("/")[0]
    assert len(list((hub.data / "prepared" / repo_id).glob("*.bundle"))) == 1


def test_git_goes_on_without_a_bundle(hub: Hub, work: Git, tmp_path: Path) -> None:
    name = filled(hub, work)
    url = awaited(hub, name)["bundle.all.uri"]
    repo_id = url.split("/api/git/")[1].split("/")[0]
    (bundle,) = (hub.data / "prepared" / repo_id).glob("*.bundle")
    bundle.unlink()  # as on another machine, or after the cache made room
    client = Git(tmp_path / "client")
    done = client.run("clone", "-q", f"--bundle-uri={url}", hub.git_url(name), ".")
    assert (done.returncode, b"warning" in done.stderr) == (0, True)
    assert client("rev-parse", "HEAD") == work("rev-parse", "main")
    assert awaited(hub, name)["bundle.version"] == "1"


def test_small_and_empty_repositories_have_none(hub: Hub, work: Git) -> None:
    name = hub.repo()
    assert listed(hub, name) == {}
    work.commit("a", {"a": "a"})
    work("push", "-q", hub.git_url(name), "main")
    assert listed(hub, name) == {}
    answer = rawgit.post(hub, name, rawgit.command("bundle-uri", "all"))
    assert answer.body.endswith(b"ERR bundle-uri: unexpected argument: 'all'\n")


def test_git_sends_its_capabilities_first(hub: Hub, work: Git) -> None:
    name = filled(hub, work)
    awaited(hub, name)
    body = b"".join(rawgit.pkt(line) for line in (b"agent=git/2.47\n", b"object-format=sha1\n", b"command=bundle-uri\n"))
    assert b"bundle.version=1" in rawgit.v2(hub, name, body + rawgit.DELIM + rawgit.FLUSH)
