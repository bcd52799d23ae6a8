"""Requests byte by byte to the hub and to C git's server: the same packets come back, up to the pack itself."""

import io
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from gitserver.protocol.pktline import DELIM, FLUSH, Special, pkt, read_pkt
from tests.differential.backend import Backend
from tests.gitserver.conftest import Git
from tests.harness.hubs import Hub

ACKS = ("", "multi_ack", "multi_ack_detailed", "multi_ack multi_ack_detailed", "multi_ack_detailed no-done")
UNKNOWN = [f"{number:040x}" for number in range(1, 4)]


class Two:
    """The same history behind both; `ids` are commits by name, of which a client may have some."""

    def __init__(self, hub: Hub, backend: Backend, folder: Path) -> None:
        name = hub.repo()
        self.urls = (f"{hub.url}/{name}.git", backend.make(name.replace("/", "-")))
        work = Git(folder)
        work("init", "-q", "-b", "main")
        self.ids = {f"m{number}": work.commit(f"m{number}", {"f": str(number)}) for number in range(6)}
        work("checkout", "-q", "-b", "side", "HEAD~3")
        self.ids |= {f"s{number}": work.commit(f"s{number}", {"s": str(number)}) for number in range(3)}
        work("tag", "-a", "-m", "tag", "v1", "main~1")
        for url in (hub.git_url(name), self.urls[1]):
            work("push", "-q", url, "main", "side", "v1")
        self.ids["v1"] = work("rev-parse", "v1")

    def same(self, body: bytes, version: int) -> list[object]:
        """What both answered. Raises AssertionError where they differ."""
        ours, theirs = (_head_of(_post(url, body, version)) for url in self.urls)
        assert ours == theirs
        return ours


def _post(url: str, body: bytes, version: int) -> bytes:
    headers = {"Content-Type": "application/x-git-upload-pack-request", "Git-Protocol": f"version={version}"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/git-upload-pack", body, headers), timeout=60) as answer:
        data: bytes = answer.read()
    return data


def _head_of(data: bytes) -> list[object]:
    """The packets before the pack; of progress and the pack's bytes only that they come."""
    file, found = io.BytesIO(data), list[object]()
    while file.tell() < len(data):
        if data[file.tell() : file.tell() + 4] == b"PACK":
            return [*found, "pack"]
        packet = read_pkt(file)
        if isinstance(packet, bytes) and packet[:1] in (b"\1", b"\2", b"\3"):
            return [*found, f"band {'pack' if packet[0] < 3 else 'error'}"]
        found.append(packet.rstrip(b"\n") if isinstance(packet, bytes) else packet)
    return found


@pytest.fixture(scope="module")
def two(embedded_hub: Hub, backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Two:
    return Two(embedded_hub, backend, tmp_path_factory.mktemp("negotiation") / "work")


def v0(two: Two, capabilities: str, wants: Iterable[str], *lines: str, deepen: str = "") -> bytes:
    """A v0 request; `-` is a flush, other words are haves, `done` is itself."""
    first, *others = wants
    body = pkt(f"want {two.ids[first]} {capabilities}\n".encode()) + b"".join(pkt(f"want {two.ids[want]}\n".encode()) for want in others)
    body += pkt(f"{deepen}\n".encode()) if deepen else b""
    told = {"-": FLUSH, "done": pkt(b"done\n")}
    return body + FLUSH + b"".join(told.get(line) or pkt(f"have {two.ids.get(line, line)}\n".encode()) for line in lines)


ROUNDS: dict[str, tuple[str, ...]] = {
    "nothing in common": (*UNKNOWN, "done"),
    "a first round without an end": (*UNKNOWN, "-"),
    "no haves": ("done",),
    "one in common": ("m2", "done"),
    "one among unknown ones": (UNKNOWN[0], "m2", UNKNOWN[1], "done"),
    "several rounds": (UNKNOWN[0], "-", "m2", "-", "m1", "m0", "done"),
    "all of it": ("m5", "-"),
    "ready": ("m4", "m3", "-"),
    "both branches": ("m2", "s0", "-", "done"),
    "the same twice": ("m2", "m2", "done"),
}


@pytest.mark.parametrize("acks", ACKS)
@pytest.mark.parametrize("rounds", ROUNDS)
def test_acknowledgments_in_v0(two: Two, acks: str, rounds: str) -> None:
    lines = ROUNDS[rounds]
    if not acks and rounds == "ready":
        lines = ("m4", "-")  # C git says ACK a second time for a parent of the first one; the protocol has it say so once
    two.same(v0(two, f"{acks} side-band-64k no-progress ofs-delta", ["m5"], *lines), 0)


@pytest.mark.parametrize("band", ["", "side-band"])
def test_small_bands_and_none_in_v0(two: Two, band: str) -> None:
    assert two.same(v0(two, f"{band} no-progress", ["m5"], *ROUNDS["one in common"]), 0)[-1] == ("band pack" if band else "pack")


@pytest.mark.parametrize("deepen", ["deepen 1", "deepen 3", "deepen 100", "deepen-since 1600000200", "deepen-not side"])
def test_shallow_lines_in_v0(two: Two, deepen: str) -> None:
    words = "multi_ack_detailed side-band-64k no-progress shallow deepen-since deepen-not"
    assert "band pack" in two.same(v0(two, words, ["m5", "s2"], "done", deepen=deepen), 0)


FETCHES: dict[str, Callable[[dict[str, str]], list[str]]] = {
    "clone": lambda ids: [f"want {ids['m5']}", "done"],
    "unknown": lambda ids: [f"want {ids['m5']}", f"have {UNKNOWN[0]}"],
    "common": lambda ids: [f"want {ids['s2']}", f"have {ids['m1']}", f"have {UNKNOWN[0]}"],
    "not ready": lambda ids: [f"want {ids['s2']}", f"want {ids['m5']}", f"have {ids['s1']}"],
    "ready": lambda ids: [f"want {ids['m5']}", f"have {ids['m4']}", f"have {ids['m3']}"],
    "done with haves": lambda ids: [f"want {ids['m5']}", f"have {ids['m4']}", "done"],
    "waiting": lambda ids: [f"want {ids['m5']}", f"have {ids['m4']}", "wait-for-done"],
    "only asking": lambda ids: [f"have {ids['m4']}", "wait-for-done"],
    "nothing": lambda ids: ["done"],
    "depth": lambda ids: [f"want {ids['m5']}", "deepen 2", "done"],
    "all depth": lambda ids: [f"want {ids['m5']}", "deepen 2147483647", f"shallow {ids['m4']}", "done"],
    "relative": lambda ids: [f"want {ids['m5']}", "deepen 1", "deepen-relative", f"shallow {ids['m3']}", f"have {ids['m5']}", "done"],
    "since": lambda ids: [f"want {ids['m5']}", "deepen-since 1600000200", "done"],
    "not": lambda ids: [f"want {ids['m5']}", "deepen-not refs/heads/side", "done"],
    "shallow client": lambda ids: [f"want {ids['m5']}", f"shallow {ids['m2']}", f"have {ids['m2']}", "done"],
    "unknown shallow": lambda ids: [f"want {ids['m5']}", f"shallow {UNKNOWN[0]}", "done"],
    "a tag": lambda ids: [f"want {ids['v1']}", "include-tag", "done"],
    "filter": lambda ids: [f"want {ids['m5']}", "filter blob:none", "done"],
}


@pytest.mark.parametrize("fetch", FETCHES)
def test_sections_in_v2(two: Two, fetch: str) -> None:
    lines = [*FETCHES[fetch](two.ids), "no-progress", "ofs-delta"]
    head = b"".join(map(pkt, (b"command=fetch\n", b"agent=git/2.39\n", b"object-format=sha1\n", b"server-option=x=y\n")))
    two.same(head + DELIM + b"".join(pkt(line.encode() + b"\n") for line in lines) + FLUSH, 2)


def test_object_info_in_v2(two: Two) -> None:
    lines = [b"size\n", *(b"oid %s\n" % oid.encode() for oid in two.ids.values())]
    body = pkt(b"command=object-info\n") + DELIM + b"".join(map(pkt, lines)) + FLUSH
    assert len(two.same(body, 2)) == len(two.ids) + 2


def test_refs_in_v2(two: Two) -> None:
    for lines in ([], [b"peel\n"], [b"symrefs\n"], [b"peel\n", b"symrefs\n", b"unborn\n", b"ref-prefix refs/tags/\n", b"ref-prefix HE\n"]):
        found = two.same(pkt(b"command=ls-refs\n") + DELIM + b"".join(map(pkt, lines)) + FLUSH, 2)
        assert found[-1] is Special.FLUSH
