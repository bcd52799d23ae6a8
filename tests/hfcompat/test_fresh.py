"""What any process wrote shows in the next read of every other, though each remembers much (workers share the rows alone)."""

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.store import Kind, RawObject, object_id
from hub.services import Services
from hub.settings import Settings
from lfs.pointer import Pointer, serialize
from storage.records import ZERO_OID, BlobRef, RefUpdate, Repo, RepoKind, RepoName, Scope
from tests.two_users import quick_build

_TRIES = 8  # each on a connection of its own, which any of the workers may take


class Site:
    """A hub, one repository of alice's, and the services of another process on the same data."""

    def __init__(self, hub: Any, other: Services, work: Path) -> None:
        self.hub = hub
        self.other = other
        self.name = hub.repo()
        user = other.users.by_name("alice")
        assert user is not None
        self.alice = user.principal(Scope.WRITE, from_session=False)
        self._work = work
        self.git("init", "-q", "-b", "main")
        self.first, self.second = self.commit("one"), self.commit("two")
        self.git("push", "-q", hub.git_url(self.name), "main", "main:refs/heads/other", "main~1:refs/tags/v1")

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
        done = subprocess.run(["git", *identity, *arguments], cwd=self._work, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, text: str) -> str:
        (self._work / "a.txt").write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", text)
        return self.git("rev-parse", "HEAD")

    def repo(self) -> Repo:
        found = self.other.repos.find(RepoName.parse(RepoKind.MODEL, *self.name.split("/")))
        assert found is not None
        return found

    def move(self, ref: str, old: str, new: str) -> None:
        """By the other process."""
        ids = [bytes.fromhex(oid) if oid else ZERO_OID for oid in (old, new)]
        update = RefUpdate(ref.encode(), *ids)
        results = self.other.versions.append(self.repo(), [update], actor=self.alice, peeled={}, atomic=True, rows=lambda tx: None)
        assert [result.reason for result in results] == [""]

    def seen(self, revision: str = "main", token: str | None = None) -> list[tuple[int, str, str]]:
        """What many reads say, every way of reading in turn."""
        url = f"/{self.name}/resolve/{revision}/a.txt"
        answers = [self.hub.call("GET", url, token=token) for _ in range(_TRIES)]
        answers += [self.hub.call("HEAD", url, token=token) for _ in range(_TRIES)]
        bodies = {answer.body for answer in answers[:_TRIES] if answer.status == 200}
        assert len(bodies) <= 1
        shown = bodies.pop().decode() if bodies else ""
        return sorted({(answer.status, answer.headers.get("X-Repo-Commit", ""), shown) for answer in answers})


@pytest.fixture(scope="module", params=["1", "2"], ids=["one worker", "two workers"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_launcher: Callable[[Path], Any]) -> Iterator[Any]:
    launcher = new_launcher(tmp_path_factory.mktemp("fresh") / "data")
    launcher.users()
    running = launcher.start("--workers", request.param)
    yield running
    assert running.stop() == 0
    assert "unexpected error" not in running.log.read_text("utf-8")


@pytest.fixture
def site(served: Any, tmp_path: Path) -> Iterator[Site]:
    other = quick_build(Settings(data=served.data))
    made = Site(served, other, tmp_path)
    assert made.seen() == [(200, made.second, "two")]
    yield made
    other.close()


def test_a_branch_moved_by_a_push(site: Site) -> None:
    third = site.commit("three")
    site.git("push", "-q", site.hub.git_url(site.name), "main")

    assert site.seen() == [(200, third, "three")]
    assert site.seen("HEAD") == [(200, third, "three")]
    assert site.seen("other") == [(200, site.second, "two")]
    assert site.seen(site.second) == [(200, site.second, "two")]


def test_a_branch_moved_and_deleted_by_another_process(site: Site) -> None:
    site.move("refs/heads/other", site.second, site.first)
    assert site.seen("other") == [(200, site.first, "one")]
    site.move("refs/heads/other", site.first, "")

    assert site.seen("other") == [(404, "", "")]
    assert site.seen(site.first) == [(200, site.first, "one")]


def test_a_deleted_tag(site: Site) -> None:
    assert site.seen("v1") == [(200, site.first, "one")]
    site.move("refs/tags/v1", site.first, "")

    assert site.seen("v1") == [(404, "", "")]


def test_a_branch_comes_before_a_tag_of_its_name(site: Site) -> None:
    assert site.seen("v1") == [(200, site.first, "one")]
    site.move("refs/heads/v1", "", site.second)

    assert site.seen("v1") == [(200, site.second, "two")]
    assert site.seen("refs%2Ftags%2Fv1") == [(200, site.first, "one")]


def test_private_at_once_and_public_again(site: Site) -> None:
    assert site.seen(token=site.hub.token2) == [(200, site.second, "two")]
    site.other.repos.update(site.repo(), is_private=True)
    hidden = [site.seen(revision, token)[0][:2] for revision in ("main", site.second) for token in (site.hub.token2, "")]

    assert hidden == [(404, ""), (401, "")] * 2
    assert site.seen() == [(200, site.second, "two")]
    site.other.repos.update(site.repo(), is_private=False)
    assert site.seen(token="") == [(200, site.second, "two")]


def test_deleted_and_made_again(site: Site) -> None:
    site.other.repos.delete(site.repo())
    assert site.seen() == [(404, "", "")]
    site.other.repos.create(site.alice, RepoName.parse(RepoKind.MODEL, *site.name.split("/")), is_private=False)

    assert site.seen() == [(404, "", "")]
    assert site.seen(site.second) == [(404, "", "")]
    site.git("checkout", "-q", "--orphan", "again")
    again = site.commit("again")
    site.git("push", "-q", site.hub.git_url(site.name), "again:main")
    assert site.seen() == [(200, again, "again")]
    assert site.seen(site.second) == [(404, "", "")]


def pointer_commit(blob: BlobRef) -> list[RawObject]:
    """A commit whose a.txt is a pointer to `blob`, the commit last."""
    file = RawObject(Kind.BLOB, serialize(Pointer(blob.sha256, blob.size)))
    tree = RawObject(Kind.TREE, b"100644 a.txt\0" + object_id(file.kind, file.data))
    ann = b"Ann <ann@example.org> 1700000000 +0000"
    text = b"tree %s\nauthor %s\ncommitter %s\n\nx\n" % (object_id(tree.kind, tree.data).hex().encode(), ann, ann)
    return [file, tree, RawObject(Kind.COMMIT, text)]


def test_a_large_object_that_comes_after_its_pointer(site: Site) -> None:
    data = b"weights" * 1000
    blob = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
    made = pointer_commit(blob)
    commit = object_id(made[-1].kind, made[-1].data)

    def fill(writer: PackWriter) -> list[RefUpdate]:
        for raw in made:
            writer.add(raw)
        return [RefUpdate(b"refs/heads/large", ZERO_OID, commit)]

    assert site.other.ref_writer.store(site.repo(), site.alice, fill)[0].reason == ""
    assert site.seen("large") == [(200, commit.hex(), made[0].data.decode())]
    upload = site.other.blobs.upload(blob)
    upload.write(data)
    upload.commit()
    assert site.seen("large") == [(200, commit.hex(), made[0].data.decode())]
    site.other.possession.link(site.repo().id, blob)

    assert site.seen("large") == [(200, commit.hex(), data.decode())]
