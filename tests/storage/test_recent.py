"""The bounded memory."""

from storage.lru import Recent


def test_the_longest_unused_goes_first() -> None:
    kept: Recent[str, int] = Recent(2, lambda value: 1)
    kept.keep("a", 1)
    kept.keep("b", 2)
    assert kept.get("a") == 1
    kept.keep("c", 3)

    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    assert len(kept) == 2
