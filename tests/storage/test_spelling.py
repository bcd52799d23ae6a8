"""Names that are no UTF-8 as text, and back."""

from itertools import product

import pytest

from storage.spelling import named, spelled


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"a b%20%E9", "a b%20%E9"),
        ("café".encode(), "café"),
        (b"caf\xe9", "caf%E9"),
        (b"100%\xff", "100%25%FF"),
        (b"\xed\xa0\x80", "%ED%A0%80"),
    ],
)
def test_h6_spellings(name: bytes, text: str) -> None:
    assert spelled(name, {name}) == text
    assert named(text.encode(), {name}) == name


def test_h6_every_name_of_a_folder_has_a_spelling_of_its_own() -> None:
    pieces = (b"%", b"25", b"E9", b"\xe9", b"a")
    names = {b"".join(chosen) for length in (1, 2, 3, 4) for chosen in product(pieces, repeat=length)}
    texts = {name: spelled(name, names) for name in names}

    assert len(set(texts.values())) == len(names)
    assert all(named(text.encode(), names) == name for name, text in texts.items())
    assert all(texts[name] == name.decode() for name in names if b"\xe9" not in name)


def test_what_is_not_there_stays_as_it_is() -> None:
    assert named(b"caf%E9", {b"other"}) == b"caf%E9"
    assert named(b"%" + b"25" * 4000, {b"other"}) == b"%" + b"25" * 4000
