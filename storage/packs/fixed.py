"""Packs that are open already, as a source for who reads objects from them."""

from collections.abc import Iterator

from storage.packs.packfile import PackFile


class GivenPacks:
    """These, and nothing else."""

    def __init__(self, packs: list[PackFile]) -> None:
        self._packs = packs

    def open_listed(self, repo_id: str, held: list[PackFile]) -> list[PackFile]:
        return self._packs

    def lost(self, repo_id: str) -> Iterator[str]:
        return iter(())
