"""git over SSH with the real clients, in every protocol version."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(params=[0, 1, 2])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def filled(ssh_hub: Any, path: Path, commits: int = 3, **repo: Any) -> tuple[str, Any]:
    """A repository with a few commits, and the folder that pushed them."""
    name = ssh_hub.hub.repo(**repo)
    git = ssh_hub.git(path / "work").start()
    for number in range(commits):
        git.commit(f"{number}", file=f"content {number}\n", **{f"f{number}": str(number)})
    git("remote", "add", "origin", ssh_hub.url(name))
    git("push", "-q", "origin", "main")
    return name, git


def test_push_clone_and_fetch(ssh_hub: Any, tmp_path: Path, version: int) -> None:
    name, work = filled(ssh_hub, tmp_path)
    client = ssh_hub.git(tmp_path, version=version)
    client("clone", "-q", ssh_hub.url(name), "clone")
    first = client.at("clone")("rev-parse", "HEAD")
    work("tag", "-a", "v1", "-m", "one")
    new = work.commit("more", more="more")
    work("push", "-q", "origin", "main", "v1")
    client.at("clone")("pull", "-q", "--tags")

    assert first != new
    assert client.at("clone")("rev-parse", "HEAD", "v1^{}") == f"{new}\n{work('rev-parse', 'v1^{}')}"
    assert client.at("clone")("fsck", "--full") == ""
    assert f"{new}\trefs/heads/main" in client("ls-remote", ssh_hub.url(name))


def test_long_negotiation(ssh_hub: Any, tmp_path: Path, version: int) -> None:
    """Hundreds of commits that the hub does not know come before the common one: several rounds."""
    name, work = filled(ssh_hub, tmp_path)
    client = ssh_hub.git(tmp_path, version=version)
    client("clone", "-q", ssh_hub.url(name), "clone")
    mine = client.at("clone")
    for number in range(150):
        mine.commit(f"mine {number}")
    new = work.commit("theirs", theirs="theirs")
    work("push", "-q", "origin", "main")
    mine("fetch", "-q", "origin")

    assert mine("rev-parse", "origin/main") == new
    assert mine("fsck") == ""


def test_shallow_deepen_and_unshallow(ssh_hub: Any, tmp_path: Path, version: int) -> None:
    name, work = filled(ssh_hub, tmp_path, 5)
    client = ssh_hub.git(tmp_path, version=version)
    client("clone", "-q", "--depth", "1", ssh_hub.url(name), "clone")
    clone = client.at("clone")
    counts = [clone("rev-list", "--count", "HEAD")]
    clone("fetch", "-q", "--deepen", "2")
    counts.append(clone("rev-list", "--count", "HEAD"))
    clone("fetch", "-q", "--unshallow")
    counts.append(clone("rev-list", "--count", "HEAD"))
    shallow = clone.commit("from a clone that was shallow")
    clone("push", "-q", "origin", "main")

    assert counts == ["1", "3", "5"]
    assert work("ls-remote", "origin", "main").startswith(shallow)


def test_partial_clone_fetches_what_is_looked_at(ssh_hub: Any, tmp_path: Path, version: int) -> None:
    name, _ = filled(ssh_hub, tmp_path)
    client = ssh_hub.git(tmp_path, version=version)
    client("clone", "-q", "--filter=blob:none", "--no-checkout", ssh_hub.url(name), "clone")
    clone = client.at("clone")
    missing = clone("rev-list", "--objects", "--missing=print", "HEAD")
    clone("checkout", "-q", "main")

    assert "\n?" in missing
    assert (clone.path / "file").read_text() == "content 2\n"


def test_a_repository_without_commits(ssh_hub: Any, tmp_path: Path, version: int) -> None:
    name = ssh_hub.hub.repo()
    client = ssh_hub.git(tmp_path, version=version)

    assert client("ls-remote", ssh_hub.url(name)) == ""
    client("clone", "-q", ssh_hub.url(name), "clone")
    client.at("clone").commit("first", a="a")
    client.at("clone")("push", "-q", "origin", "HEAD")
    assert "HEAD" in client("ls-remote", ssh_hub.url(name))


@pytest.mark.parametrize("form", ["{0}.git", "/{0}.git", "{0}", "/models/{0}.git", "models/{0}/"])
def test_every_form_of_a_path(ssh_hub: Any, tmp_path: Path, form: str) -> None:
    name, work = filled(ssh_hub, tmp_path, 1)

    assert work("rev-parse", "HEAD") in work("ls-remote", "git@127.0.0.1:" + form.format(name))


def test_datasets_are_another_kind(ssh_hub: Any, tmp_path: Path) -> None:
    name, work = filled(ssh_hub, tmp_path, 1)
    dataset = ssh_hub.hub.repo("dataset")

    assert work("ls-remote", ssh_hub.url("datasets/" + dataset)) == ""
    assert "Repository not found" in work.run("ls-remote", ssh_hub.url("datasets/" + name)).stderr


def test_an_old_name_leads_on(ssh_hub: Any, tmp_path: Path) -> None:
    name, work = filled(ssh_hub, tmp_path, 1)
    ssh_hub.hub.call("POST", "/api/repos/move", {"fromRepo": name, "toRepo": name + "new", "type": "model"})
    done = work.run("ls-remote", "origin")

    assert work("rev-parse", "HEAD") in done.stdout
    assert f"is called {name}new now" in done.stderr


def test_force_delete_atomic_and_refusals(ssh_hub: Any, tmp_path: Path) -> None:
    name, work = filled(ssh_hub, tmp_path)
    work("push", "-q", "origin", "main:side")
    work("reset", "-q", "--hard", "HEAD~1")
    other = work.commit("other", other="other")
    refused = work.run("push", "origin", "main")
    work("push", "-q", "--force", "origin", "main")
    work("push", "-q", "origin", ":side")
    current = work.run("push", "origin", ":main")
    atomic = work.run("push", "--atomic", "origin", "main:refs/heads/fine", "main:refs/for/x")

    assert "non-fast-forward" in refused.stderr or "fetch first" in refused.stderr
    assert work("ls-remote", "origin").split() == [other, "HEAD", other, "refs/heads/main"]
    assert "deletion of the current branch prohibited" in current.stderr
    assert f"remote: refs/heads/main is the default branch. Choose another default branch first: PUT /api/models/{name}/" in current.stderr
    assert atomic.returncode != 0


def test_what_a_push_breaks_is_said_over_ssh_too(ssh_hub: Any, tmp_path: Path) -> None:
    name = ssh_hub.hub.repo()
    git = ssh_hub.git(tmp_path / "w").start()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 5\n"
    git.commit("pointer without its object", big=pointer)
    done = git.run("push", ssh_hub.url(name), "main")

    assert done.returncode != 0
    assert "remote: 1 LFS objects are missing" in done.stderr
    assert "missing LFS objects" in done.stderr


def test_g8_a_push_over_ssh_makes_the_repository(ssh_hub: Any, tmp_path: Path) -> None:
    name = "alice/pushed-over-ssh"
    git = ssh_hub.git(tmp_path / "work").start()
    git.commit("first", a="1")
    asked = ssh_hub.ssh(f"git-upload-pack {name}.git")
    stranger = ssh_hub.git(tmp_path / "stranger", user="bob").start()
    stranger.commit("first", a="1")
    refused = stranger.run("push", ssh_hub.url(name), "main")
    pushed = git.run("push", ssh_hub.url(name), "main")

    assert b"Repository not found" in asked.stderr
    assert "Repository not found" in refused.stderr
    assert pushed.returncode == 0, pushed.stderr
    assert f"Created the private repository {name}: {ssh_hub.hub.url}/{name}" in pushed.stderr
    assert ssh_hub.hub.call("GET", f"/api/models/{name}").json()["private"] is True
