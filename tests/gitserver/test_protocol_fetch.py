"""What goes over the wire: advertisements, v2 commands, and answers to requests that no friendly client sends."""

import gzip
import hashlib
import urllib.error
import urllib.request
from email.message import Message

import pytest

from gitserver.fetch.filters import Filter, parse_filter
from gitserver.protocol.bands import Bands
from gitserver.protocol.pktline import DELIM, FLUSH, pkt
from gitserver.protocol.request import FetchRequest
from storage.errors import Invalid, TooLarge
from storage.limits import Limits

REQUEST = "application/x-git-upload-pack-request"


def call(hub, path, body=None, **headers) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(hub.url + path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def v2(hub, *lines) -> bytes:
    body = b"".join(line if line in (FLUSH, DELIM) else pkt(line) for line in lines)
    return call(hub, "/git-upload-pack", body, Content_Type=REQUEST, Git_Protocol="version=2")[2]


def packets(data):
    found = []
    while data:
        size = int(data[:4], 16)
        found.append(data[4:size] if size >= 4 else size)
        data = data[max(size, 4) :]
    return found


@pytest.fixture
def tip(fetch_hub, work):
    work.commit("one", {"a/f": "1", "b": "2"})
    work("tag", "-a", "v1", "-m", "one")
    fetch_hub.load(work)
    return work("rev-parse", "HEAD").encode()


def test_v0_advertisement_names_head_and_peels_tags(fetch_hub, tip):
    status, headers, body = call(fetch_hub, "/info/refs?service=git-upload-pack")
    lines = packets(body)
    first, capabilities = lines[2].split(b"\0")
    assert status == 200
    assert "no-cache" in headers["Cache-Control"]
    assert headers["Content-Type"] == "application/x-git-upload-pack-advertisement"
    assert lines[:2] == [b"# service=git-upload-pack\n", 0]
    assert first == tip + b" HEAD"
    assert b"symref=HEAD:refs/heads/main" in capabilities.split()
    assert [line[41:].strip() for line in lines[3:-1]] == [b"refs/heads/main", b"refs/tags/v1", b"refs/tags/v1^{}"]


def test_versions_and_empty_repositories(fetch_hub):
    zero = packets(call(fetch_hub, "/info/refs?service=git-upload-pack")[2])
    assert zero[2].startswith(b"0" * 40 + b" capabilities^{}\0")
    one = packets(call(fetch_hub, "/info/refs?service=git-upload-pack", Git_Protocol="version=1")[2])
    assert one[2] == b"version 1\n"
    two = packets(call(fetch_hub, "/info/refs?service=git-upload-pack", Git_Protocol="key:version=2")[2])
    assert two[2] == b"version 2\n"
    assert b"object-format=sha1\n" in two
    unborn = v2(fetch_hub, b"command=ls-refs\n", DELIM, b"symrefs\n", b"unborn\n", FLUSH)
    assert packets(unborn) == [b"unborn HEAD symref-target:refs/heads/main\n", 0]


def test_refused_services_and_types(fetch_hub, tip):
    assert call(fetch_hub, "/info/refs")[0] == 403
    assert b"Smart HTTP" in call(fetch_hub, "/info/refs")[2]
    assert call(fetch_hub, "/info/refs?service=git-evil")[0] == 403
    status, headers, _ = call(fetch_hub, "/info/refs?service=git-receive-pack")
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Basic realm=")
    assert call(fetch_hub, "/git-upload-pack", b"0000", Content_Type="text/plain")[0] == 415
    broken = gzip.compress(b"0000")[:-6] + b"xx"
    assert call(fetch_hub, "/git-upload-pack", broken, Content_Type=REQUEST, Content_Encoding="gzip")[0] == 400


def test_ls_refs_prefixes_and_peeling(fetch_hub, tip, work):
    answer = v2(fetch_hub, b"command=ls-refs\n", DELIM, b"peel\n", b"symrefs\n", b"ref-prefix HEAD\n", b"ref-prefix refs/tags/\n", FLUSH)
    tag = work("rev-parse", "v1").encode()
    assert packets(answer) == [tip + b" HEAD symref-target:refs/heads/main\n", tag + b" refs/tags/v1 peeled:" + tip + b"\n", 0]


def test_object_info(fetch_hub, tip, work):
    blob = work("rev-parse", "HEAD:b").encode()
    answer = v2(fetch_hub, b"command=object-info\n", DELIM, b"size\n", b"oid " + blob + b"\n", b"oid " + b"1" * 40 + b"\n", FLUSH)
    assert packets(answer) == [b"size", blob + b" 1", b"1" * 40 + b" ", 0]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((b"command=frobnicate\n", FLUSH), b"invalid command"),
        ((b"command=ls-refs\n", b"made-up\n", FLUSH), b"unknown capability"),
        ((b"command=ls-refs\n", DELIM, b"made-up\n", FLUSH), b"unexpected line"),
        ((b"command=ls-refs\n", b"object-format=sha256\n", FLUSH), b"mismatched object format"),
        ((b"command=fetch\n", DELIM, b"want zzzz\n", b"done\n", FLUSH), b"expected the object id"),
        ((b"command=fetch\n", DELIM, b"want-ref refs/heads/nope\n", b"done\n", FLUSH), b"unknown ref"),
        ((b"command=fetch\n", DELIM, b"want " + b"1" * 40 + b"\n", b"done\n", FLUSH), b"not our ref " + b"1" * 40),
        ((b"command=fetch\n", DELIM, b"filter sparse:oid=x\n", FLUSH), b"invalid filter-spec"),
        ((b"command=fetch\n", DELIM, b"done\n"), b"expected flush"),
    ],
)
def test_v2_refusals_are_err_lines(fetch_hub, tip, lines, words):
    answer = packets(v2(fetch_hub, *lines))
    assert len(answer) == 1
    assert answer[0].startswith(b"ERR ")
    assert words in answer[0]


def test_v2_sections_come_in_the_order_that_clients_read(fetch_hub, tip):
    ask = (b"command=fetch\n", DELIM, b"no-progress\n", b"deepen 1\n", b"want-ref refs/heads/main\n")
    answer = packets(v2(fetch_hub, *ask, b"done\n", FLUSH))
    assert answer[:6] == [b"shallow-info\n", b"shallow " + tip, 1, b"wanted-refs\n", tip + b" refs/heads/main\n", 1]
    assert answer[6] == b"packfile\n"
    assert answer[7][:5] == b"\1PACK"
    banded = packets(v2(fetch_hub, *ask, b"sideband-all\n", b"done\n", FLUSH))
    assert all(not isinstance(line, bytes) or line[:1] == b"\1" for line in banded)


def test_v2_negotiation(fetch_hub, tip):
    want = b"want " + tip + b"\n"
    nothing = packets(v2(fetch_hub, b"command=fetch\n", DELIM, want, b"have " + b"1" * 40 + b"\n", FLUSH))
    assert nothing == [b"acknowledgments\n", b"NAK\n", 0]
    ready = packets(v2(fetch_hub, b"command=fetch\n", DELIM, want, b"have " + tip + b"\n", FLUSH))
    assert ready[:4] == [b"acknowledgments\n", b"ACK " + tip + b"\n", b"ready\n", 1]
    waiting = packets(v2(fetch_hub, b"command=fetch\n", DELIM, b"wait-for-done\n", b"have " + tip + b"\n", FLUSH))
    assert waiting == [b"acknowledgments\n", b"ACK " + tip + b"\n", 0]
    assert packets(v2(fetch_hub, b"command=fetch\n", DELIM, b"done\n", FLUSH)) == []


def test_v0_without_side_bands(fetch_hub, tip):
    body = pkt(b"want " + tip + b" ofs-delta agent=x\n") + FLUSH + pkt(b"done\n")
    status, headers, answer = call(fetch_hub, "/git-upload-pack", body, Content_Type=REQUEST)
    assert status == 200
    assert headers["Content-Type"] == "application/x-git-upload-pack-result"
    assert answer[:12] == b"0008NAK\nPACK"
    assert hashlib.sha1(answer[8:-20], usedforsecurity=False).digest() == answer[-20:]


def test_a_tag_comes_along_when_asked(fetch_hub, tip):
    ask = (b"command=fetch\n", DELIM, b"no-progress\n", b"want " + tip + b"\n")
    plain = packets(v2(fetch_hub, *ask, b"done\n", FLUSH))[1]
    tagged = packets(v2(fetch_hub, *ask, b"include-tag\n", b"done\n", FLUSH))[1]
    assert int.from_bytes(plain[9:13], "big") == 5
    assert int.from_bytes(tagged[9:13], "big") == 6


def test_limits_of_a_request():
    request = FetchRequest(Limits(haves=2))
    request.take(b"have " + b"1" * 40)
    request.take(b"have " + b"2" * 40)
    with pytest.raises(TooLarge, match="more than 2 have lines"):
        request.take(b"have " + b"3" * 40)
    request.take(b"deepen 3")
    request.take(b"deepen-since 5")
    with pytest.raises(Invalid, match="cannot be used together"):
        request.check()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (b"blob:none", Filter(0)),
        (b"blob:limit=2k", Filter(2048)),
        (b"tree:3", Filter(tree_depth=3)),
        (b"combine:blob:limit=1m+tree:2+blob%3Anone", Filter(0, 2)),
    ],
)
def test_filter_specs(spec, expected):
    assert parse_filter(spec) == expected


def test_bands_split_and_gather():
    data = bytes(range(256)) * 3000
    answer = b"".join(Bands(995, progress=True).pack([memoryview(data)[:5], b"", memoryview(data)[5:]]))
    found = packets(answer)
    assert max(map(len, found)) == 996
    assert b"".join(line[1:] for line in found) == data
    assert b"".join(Bands(0, progress=True).pack([data])) == data
    assert list(Bands(0, progress=True).say("x")) == []
