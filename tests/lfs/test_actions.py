"""URLs that authorize themselves, for exactly one thing."""

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lfs.transfers.actions import Actions, ActionVerb
from storage.errors import Forbidden
from storage.multipart.base import Direct, Parted
from storage.records import BlobRef

BLOB = BlobRef("ab" * 32, 100)


def check(actions: Actions, url: str, verb: ActionVerb = ActionVerb.UPLOAD, changed: dict[str, str] | None = None) -> Any:
    parts = urlsplit(url)
    repo, oid = parts.path.split("/")[3:5]
    given = {name: values[0] for name, values in parse_qs(parts.query).items()} | {"repo": repo, "oid": oid} | (changed or {})
    return actions.check(verb, given["repo"], given["oid"], given["size"], given["expires"], given["signature"])


def urls(actions: Actions, parted: Parted) -> list[list[str]]:
    """The pieces of part 2's URL and of the completion's, good for 1000 seconds."""
    made = actions.part_url("http://h", parted, 2, 1000), actions.complete_url("http://h", parted, 1000)
    pieces = []
    for url in made:
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        names = ("size", "expires", "signature", "part_bytes", "number")
        pieces.append([*urlsplit(url).path.split("/")[3:5], *(query[name] for name in names)])
    return pieces


def test_a_url_grants_what_it_names() -> None:
    actions = Actions(b"k" * 32, 60)
    grant = check(actions, actions.url("http://h", ActionVerb.UPLOAD, "r1", BLOB))

    assert (grant.repo_id, grant.blob) == ("r1", BLOB)


@pytest.mark.parametrize(
    "changed", [{"repo": "r2"}, {"oid": "cd" * 32}, {"size": "101"}, {"expires": "9999999999"}, {"signature": "0" * 64}]
)
def test_a_changed_part_is_refused(changed: dict[str, str]) -> None:
    actions = Actions(b"k" * 32, 60)
    with pytest.raises(Forbidden, match="signature"):
        check(actions, actions.url("http://h", ActionVerb.UPLOAD, "r1", BLOB), changed=changed)


def test_another_verb_or_key_is_refused() -> None:
    actions = Actions(b"k" * 32, 60)
    url = actions.url("http://h", ActionVerb.DOWNLOAD, "r1", BLOB)
    with pytest.raises(Forbidden):
        check(actions, url, ActionVerb.UPLOAD)
    with pytest.raises(Forbidden):
        check(Actions(b"x" * 32, 60), url, ActionVerb.DOWNLOAD)
    with pytest.raises(Forbidden, match="no action URL"):
        check(actions, url, ActionVerb.DOWNLOAD, {"size": "x"})


def test_a_part_url_grants_one_part() -> None:
    actions, parted = Actions(b"k" * 32, 60), Parted("r1", BLOB, 40)
    part, complete = urls(actions, parted)
    grant = actions.check(ActionVerb.PART, *part)

    assert (grant.parted, grant.number) == (parted, 2)
    assert actions.check(ActionVerb.COMPLETE, *complete).parted == parted
    for verb, given in (
        (ActionVerb.PART, complete),
        (ActionVerb.COMPLETE, part),
        (ActionVerb.UPLOAD, part),
        (ActionVerb.PART, [*part[:6], "3"]),
    ):
        with pytest.raises(Forbidden, match="signature"):
            actions.check(verb, *given)


@pytest.mark.parametrize(
    "changed",
    [None, Direct("other", "u/+ =&1"), Direct("name", "u"), Direct("name u/+", "=&1"), Direct("name", "u/+ =&1\n"), Direct("", "")],
)
def test_a_url_grants_what_was_sent_to_one_place(changed: Direct | None) -> None:
    actions, direct = Actions(b"k" * 32, 60), Direct("name", "u/+ =&1")
    url = actions.admit_url("http://h", Parted("r1", BLOB, 100, direct), 1000)
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    names = ("size", "expires", "signature", "part_bytes", "number")
    given = ["r1", BLOB.sha256, *(query[name] for name in names)]
    grant = actions.check(ActionVerb.VERIFY, *given, direct=Direct(query["name"], query["upload"]))

    assert grant.parted == Parted("r1", BLOB, 100, direct)
    with pytest.raises(Forbidden, match="signature"):
        actions.check(ActionVerb.VERIFY, *given, direct=changed)
    with pytest.raises(Forbidden, match="signature"):
        actions.check(ActionVerb.COMPLETE, *given, direct=direct)


def test_part_urls_live_as_long_as_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = Actions(b"k" * 32, 60)
    part, complete = urls(actions, Parted("r1", BLOB, 40))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 900)
    assert actions.check(ActionVerb.PART, *part).number == 2
    monkeypatch.setattr(time, "time", lambda: now + 1002)

    for verb, given in ((ActionVerb.PART, part), (ActionVerb.COMPLETE, complete)):
        with pytest.raises(Forbidden, match="expired"):
            actions.check(verb, *given)


def test_a_url_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = Actions(b"k" * 32, 60)
    url = actions.url("http://h", ActionVerb.UPLOAD, "r1", BLOB)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 62)

    with pytest.raises(Forbidden, match="expired"):
        check(actions, url)
