"""Names of refs beside each other."""

import random
from collections.abc import Iterable

from storage.records import ZERO_OID, RefUpdate
from storage.versions.ref_names import Names

OID = b"1" * 20


def test_one_is_no_folder_of_another() -> None:
    names = Names({b"refs/heads/a/b": OID, b"refs/heads/a-b": OID})
    assert [names.clash(b"refs/heads/" + name) for name in (b"a", b"a/b/c", b"a/c", b"b", b"a/b")] == [
        b"refs/heads/a/b",
        b"refs/heads/a/b",
        None,
        None,
        None,
    ]


def test_as_a_plain_look_at_all_of_them() -> None:
    dice = random.Random(7)
    names, plain = Names({}), dict[bytes, bytes]()
    for _ in range(3000):
        name = b"/".join(dice.choice((b"a", b"a.", b"a0", b"b")) for _ in range(dice.randint(1, 4)))
        assert (names.clash(name) is None) == (not clashing(name, plain))
        assert names.get(name) == plain.get(name, ZERO_OID)
        update = RefUpdate(name, plain.get(name, ZERO_OID), dice.choice((ZERO_OID, OID)))
        names.note(update)
        plain[name] = update.new
        if update.new == ZERO_OID:
            del plain[name]


def clashing(name: bytes, others: Iterable[bytes]) -> list[bytes]:
    return [other for other in others if other.startswith(name + b"/") or name.startswith(other + b"/")]
