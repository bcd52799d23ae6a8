"""Rows of the protocol that no other test asks for: session ids, options, their limits, and where HEAD points."""

from pathlib import Path
from typing import Any

import pytest

from gitserver.protocol.sessions import session_line
from gitserver.receive.commands import CommandReader
from storage.errors import TooLarge
from storage.limits import Limits
from tests.gitserver import rawgit
from tests.gitserver.conftest import Git

ZERO = "0" * 40
SERVICES = ("git-upload-pack", "git-receive-pack")


@pytest.fixture(scope="module", params=["embedded_hub", "cluster_hub"])
def any_hub(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def filled(hub: Any, work: Git) -> str:
    name: str = hub.repo()
    work.commit("one", {"a": "1"})
    work("push", "-q", hub.git_url(name), "main")
    return name


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("service", SERVICES)
def test_every_advertisement_has_a_session(hub: Any, work: Git, version: int, service: str) -> None:
    name = filled(hub, work)
    answer = hub.call(
        "GET", f"/{name}.git/info/refs?service={service}", **{"Git-Protocol": f"version={version}", "X-Request-Id": "our.id-7"}
    )
    words = [word for line in rawgit.lines(answer.body) for word in line.replace(b"\0", b" ").split()]
    assert [word for word in words if word.startswith(b"session-id=")] == [b"session-id=our.id-7"]


@pytest.mark.parametrize("version", [0, 2])
def test_what_clients_call_their_session_is_logged(hub: Any, work: Git, tmp_path: Path, version: int) -> None:
    name = filled(hub, work)
    client = Git(tmp_path / "client", version)
    client("clone", "-q", hub.git_url(name), ".", config=("transfer.advertiseSID=true",))
    client.commit("two", {"b": "2"})
    before = hub.log.read_text("utf-8").count("of a client is")
    assert before > 0
    client("push", "-q", hub.git_url(name), "main", config=("transfer.advertiseSID=true",))
    assert hub.log.read_text("utf-8").count("of a client is") == before + 1


def test_sessions_are_bounded(hub: Any, work: Git) -> None:
    name = filled(hub, work)
    long, odd = "mine" + "x" * 5000, "one two\x1b[31m"
    for session in (long, odd):
        found = rawgit.v2(hub, name, rawgit.command("ls-refs", "peel", capabilities=("object-format=sha1", f"session-id={session}")))
        assert found[0].endswith(b" HEAD")
    log = hub.log.read_text("utf-8")
    assert "mine" + "x" * 124 + " of a client" in log
    assert not [line for line in log.splitlines() if "git session" in line and "x" * 130 in line]
    assert "\x1b" not in log
    assert session_line("a" * 500) == b"session-id=" + b"a" * 128
    assert len(session_line("a b")) == len("session-id=") + 16


def test_server_options_are_taken_and_bounded(hub: Any, work: Git, tmp_path: Path) -> None:
    name = filled(hub, work)
    client = Git(tmp_path / "client")
    client("clone", "-q", "--server-option=one", "--server-option=two=2", hub.git_url(name), ".")
    client("fetch", "-q", "-o", "x" * 1000, "origin")
    many = rawgit.command("ls-refs", "peel", capabilities=[f"server-option={number}" for number in range(2000)])
    (refused,) = rawgit.v2(hub, name, many)
    assert refused == b"ERR The request names more than 1000 capabilities."


def test_push_options_are_taken_bounded_and_kept_nowhere(hub: Any, work: Git) -> None:
    name = filled(hub, work)
    work.commit("two", {"b": "2"})
    work("push", "-q", "-o", "ci.skip", "-o", "word-for-nobody", hub.git_url(name), "main")
    assert "word-for-nobody" not in hub.log.read_text("utf-8")

    reader = CommandReader(Limits(command_bytes=10_000))
    reader.feed(rawgit.pkt(f"{ZERO} {'1' * 40} refs/heads/x\0push-options\n".encode()) + rawgit.FLUSH)
    assert reader.request is None
    with pytest.raises(TooLarge, match=r"push options.* more than 10000 bytes"):
        reader.feed(rawgit.pkt(b"o" * 1000) * 20)


def test_the_head_of_a_push_is_read_however_it_is_cut() -> None:
    line = f"{ZERO} {'1' * 40} refs/heads/".encode()
    head = b"".join(rawgit.pkt(line + b"b%d" % n + (b"" if n else b"\0push-options")) for n in range(50))
    data = head + rawgit.FLUSH + rawgit.pkt(b"option") + rawgit.FLUSH + b"PACK"
    for step in (1, 7, 4096):
        reader = CommandReader(Limits())
        for start in range(0, len(data), step):
            if reader.request is None:
                reader.feed(data[start : start + step])
                rest = reader.rest
            else:
                rest += data[start : start + step]
        assert reader.request is not None
        assert (len(reader.request.updates), rest) == (50, b"PACK")
    with pytest.raises(TooLarge, match="Push fewer refs"):
        CommandReader(Limits(command_bytes=1000)).feed(head)
    assert Limits().ref_commands * (4 + 82 + Limits().ref_name_bytes) + 1000 < Limits().command_bytes
    assert Limits().ref_commands == 100_000


def test_the_deletion_of_nothing_is_done(any_hub: Any, work: Git) -> None:
    name = filled(any_hub, work)
    before = work("ls-remote", any_hub.git_url(name))
    work("push", "-q", "--atomic", any_hub.git_url(name), ":refs/heads/never", ":refs/tags/never")
    assert work("ls-remote", any_hub.git_url(name)) == before
    body = rawgit.pkt(f"{'1' * 40} {ZERO} refs/heads/never\0report-status\n".encode()) + rawgit.FLUSH
    assert b"ng refs/heads/never" in rawgit.post(any_hub, name, body, service="git-receive-pack", version=0).body


def test_head_follows_the_first_branch(any_hub: Any, work: Git, tmp_path: Path) -> None:
    name = any_hub.repo()
    work("checkout", "-q", "-b", "master")
    work.commit("one", {"a": "1"})
    work("push", "-q", any_hub.git_url(name), "master:refs/heads/also", "master")
    assert work("ls-remote", "--symref", any_hub.git_url(name), "HEAD").splitlines()[0] == "ref: refs/heads/master\tHEAD"
    client = Git(tmp_path / "client")
    client("clone", "-q", "--depth", "1", any_hub.git_url(name), ".")
    assert (client.path / "a").read_text() == "1"
    work("push", "-q", any_hub.git_url(name), "master:main")  # HEAD is born: it stays
    assert work("ls-remote", "--symref", any_hub.git_url(name), "HEAD").splitlines()[0] == "ref: refs/heads/master\tHEAD"
