"""The rows of Xet ingest: what each xorb holds, where its bytes lie in the pool, and who may refer to it."""

import secrets
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from accounts.access import READABLE_REPOS, readable_by
from lfs.objects.possession import link_in
from lfs.xet.hashes import Chunks, XetHash, is_dedup_eligible, to_text
from lfs.xet.shard import ShardFile, Term
from storage.database.base import Database, Row, Tx
from storage.records import BlobRef, Principal

_MOST_ANSWERS = 4  # xorbs looked at for one chunk


@dataclass(frozen=True, slots=True)
class Place:
    """Chunks `first` up to but without `end` lie in the pool object, from `position` on."""

    first: int
    end: int
    sha256: str
    position: int


@dataclass(frozen=True, slots=True)
class Xorb:
    """`hash` as text; `places` may leave gaps and overlap; a staged xorb is there whole."""

    hash: str
    chunks: Chunks
    is_staged: bool
    places: tuple[Place, ...] = ()

    def offsets(self) -> list[int]:
        """Where each chunk begins in the raw bytes, and where the last one ends."""
        return list(accumulate(self.chunks.sizes, initial=0))

    @property
    def is_placed(self) -> bool:
        """Whether the pool holds every chunk."""
        reached = 0
        for place in sorted(self.places, key=lambda place: place.first):
            if place.first > reached:
                return False
            reached = max(reached, place.end)
        return reached >= len(self.chunks)


FindXorb: TypeAlias = Callable[[XetHash], Xorb]  # of those that one user may refer to; raises Invalid


class XetIndex:
    def __init__(self, database: Database) -> None:
        self._database = database

    def epoch(self) -> str:
        """Random, made once for this installation: clients must not remember xorbs of another one under the same address."""

        def work(tx: Tx) -> str:
            sql = "INSERT INTO instance (name, value) VALUES ('xet_epoch', :value) ON CONFLICT DO NOTHING"
            tx.run(sql, {"value": secrets.token_hex(8)})
            row = tx.one("SELECT value FROM instance WHERE name = 'xet_epoch'")
            assert row is not None
            return str(row["value"])

        return self._database.write(work)

    def find(self, value: str) -> Xorb | None:
        return self._database.read(lambda tx: _find(tx, value))

    def add(self, xorb: Xorb, user_id: int) -> Xorb:
        """Note a staged xorb and that the user sent it; the xorb as it stands then."""

        def work(tx: Tx) -> Xorb:
            tx.run(
                "INSERT INTO xet_xorbs (hash, hashes, sizes, is_staged, created_at) VALUES (:hash, :hashes, :sizes, 1, :now)"
                " ON CONFLICT DO NOTHING",
                {"hash": xorb.hash, "hashes": xorb.chunks.hashes, "sizes": xorb.chunks.sizes.tobytes(), "now": _now()},
            )
            _grant(tx, xorb.hash, user_id)
            known = _find(tx, xorb.hash) or xorb
            if known.is_placed:
                return known
            # Here again, for another sender perhaps, or after it expired in part: its time begins anew.
            tx.run("UPDATE xet_xorbs SET is_staged = 1, created_at = :now WHERE hash = :hash", {"hash": xorb.hash, "now": _now()})
            return replace(known, is_staged=True)

        return self._database.write(work)

    def granted(self, user_id: int, value: str) -> Xorb | None:
        """The xorb if the user may refer to it."""

        def work(tx: Tx) -> Xorb | None:
            sql = "SELECT xorb FROM xet_grants WHERE xorb = :xorb AND user_id = :user"
            return _find(tx, value) if tx.one(sql, {"xorb": value, "user": user_id}) else None

        return self._database.read(work)

    def grant_readable(self, principal: Principal, chunk: str) -> Xorb | None:
        """A xorb with that chunk which the user may refer to: he sent it, or may read all of it now; then he may from now on."""

        def work(tx: Tx) -> Xorb | None:
            rows = tx.all("SELECT xorb FROM xet_chunks WHERE hash = :hash LIMIT :most", {"hash": chunk, "most": _MOST_ANSWERS})
            for row in rows:
                xorb = _find(tx, row["xorb"])
                is_whole = xorb is not None and (xorb.is_staged or xorb.is_placed)  # else a part has expired
                if xorb is not None and is_whole and _may_refer(tx, xorb, principal):
                    _grant(tx, xorb.hash, principal.user_id)
                    return xorb
            return None

        return self._database.write(work)

    def sha256_of(self, files: Iterable[ShardFile]) -> dict[bytes, str]:
        """The SHA-256 of those that were rebuilt here before."""

        def work(tx: Tx) -> dict[bytes, str]:
            sql = "SELECT sha256 FROM xet_files WHERE hash = :hash"
            rows = ((file.hash, tx.one(sql, {"hash": to_text(file.hash)})) for file in files)
            return {value: row["sha256"] for value, row in rows if row is not None}

        return self._database.read(work)

    def settle(self, repo_id: str, files: Sequence[ShardFile], find: FindXorb) -> list[str]:
        """Rebuilt files become the repository's, and their chunks findable. The staged xorbs that nobody needs any more."""
        names = {to_text(term.xorb) for file in files for term in file.terms}
        findable: set[tuple[XetHash, str]] = set()
        placed = [(file, _places(file, find, findable)) for file in files]

        def work(tx: Tx) -> list[str]:
            for file, places in placed:
                link_in(tx, repo_id, BlobRef(file.sha256, file.size))
                row = {"hash": to_text(file.hash), "sha256": file.sha256}
                tx.run("INSERT INTO xet_files (hash, sha256) VALUES (:hash, :sha256) ON CONFLICT DO NOTHING", row)
                _place(tx, file, places)
            rows = [{"hash": to_text(chunk), "xorb": xorb} for chunk, xorb in findable]
            tx.many("INSERT INTO xet_chunks (hash, xorb) VALUES (:hash, :xorb) ON CONFLICT DO NOTHING", rows)
            return [value for value in names if _is_done(tx, value)]

        return self._database.write(work)

    def is_staged(self, value: str) -> bool:
        sql = "SELECT hash FROM xet_xorbs WHERE hash = :hash AND is_staged = 1"
        return self._database.one(sql, {"hash": value}) is not None

    def staged(self) -> list[str]:
        """Xorbs whose bytes are kept as they came."""
        rows = self._database.all("SELECT hash FROM xet_xorbs WHERE is_staged = 1 ORDER BY hash")
        return [str(row["hash"]) for row in rows]

    def expire(self, older_than: int, remove: Callable[[str], None]) -> None:
        """Forget what was sent before `older_than` (microseconds) and never became part of a file. The bytes go within the transaction:
        who sends a xorb again just then either is seen here, or notes it afterwards and sees that its bytes are gone.
        """

        def work(tx: Tx) -> None:
            sql = "SELECT hash FROM xet_xorbs WHERE is_staged = 1 AND created_at < :old"
            old = [str(row["hash"]) for row in tx.all(sql, {"old": older_than})]
            for value in old:
                tx.run("UPDATE xet_xorbs SET is_staged = 0 WHERE hash = :hash", {"hash": value})  # from here on a sender waits
                remove(value)
                sql = "DELETE FROM xet_xorbs WHERE hash = :hash AND NOT EXISTS (SELECT 1 FROM xet_places WHERE xorb = :hash)"
                tx.run(sql, {"hash": value})

        self._database.write(work)


def _now() -> int:
    return time.time_ns() // 1000


def _find(tx: Tx, value: str) -> Xorb | None:
    row = tx.one("SELECT hashes, sizes, is_staged FROM xet_xorbs WHERE hash = :hash", {"hash": value})
    if row is None:
        return None
    sizes = array("I")
    sizes.frombytes(bytes(row["sizes"]))
    places = tx.all("SELECT first, ending, sha256, position FROM xet_places WHERE xorb = :hash", {"hash": value})
    return Xorb(value, Chunks(bytes(row["hashes"]), sizes), bool(row["is_staged"]), tuple(map(_place_of, places)))


def _place_of(row: Row) -> Place:
    return Place(row["first"], row["ending"], row["sha256"], row["position"])


def _grant(tx: Tx, value: str, user_id: int) -> None:
    sql = "INSERT INTO xet_grants (xorb, user_id) VALUES (:xorb, :user) ON CONFLICT DO NOTHING"
    tx.run(sql, {"xorb": value, "user": user_id})


def _may_refer(tx: Tx, xorb: Xorb, principal: Principal) -> bool:
    row = {"xorb": xorb.hash, "user": principal.user_id}
    if tx.one("SELECT xorb FROM xet_grants WHERE xorb = :xorb AND user_id = :user", row):
        return True
    sql = (
        "SELECT repos.id FROM lfs_objects JOIN repos ON repos.id = lfs_objects.repo_id"
        f" WHERE lfs_objects.sha256 = :sha256 AND {READABLE_REPOS} LIMIT 1"
    )
    reader = readable_by(principal)
    objects = {place.sha256 for place in xorb.places}
    readable = {sha256 for sha256 in objects if tx.one(sql, reader | {"sha256": sha256})}
    places = tuple(place for place in xorb.places if place.sha256 in readable)
    return replace(xorb, places=places).is_placed


def _place(tx: Tx, file: ShardFile, places: list[tuple[int, Term]]) -> None:
    rows = [
        {"xorb": to_text(term.xorb), "first": term.first, "end": term.end, "sha256": file.sha256, "position": position}
        for position, term in places
    ]
    tx.many(
        "INSERT INTO xet_places (xorb, first, ending, sha256, position) VALUES (:xorb, :first, :end, :sha256, :position)"
        " ON CONFLICT DO NOTHING",
        rows,
    )


def _places(file: ShardFile, find: FindXorb, findable: set[tuple[XetHash, str]]) -> list[tuple[int, Term]]:
    """Each term with chunks that no earlier one had, and where it begins in the file: a file that repeats one xorb any number of times
    leaves no more rows than the xorb has chunks. To `findable` go the chunks that clients ask for, each with its xorb.
    """
    seen: dict[XetHash, bytearray] = {}
    places: list[tuple[int, Term]] = []
    position = 0
    for term in file.terms:
        chunks = find(term.xorb).chunks
        marks = seen.setdefault(term.xorb, bytearray(len(chunks)))
        if 0 in marks[term.first : term.end]:
            for index in range(term.first, term.end):
                value = chunks.hash_at(index)
                if not marks[index] and (is_dedup_eligible(value) or (not places and index == term.first)):
                    findable.add((value, to_text(term.xorb)))
            marks[term.first : term.end] = b"\1" * (term.end - term.first)
            places.append((position, term))
        position += term.size
    return places


def _is_done(tx: Tx, value: str) -> bool:
    """Whether the pool holds all of a staged xorb; then it is staged no longer."""
    xorb = _find(tx, value)
    if xorb is None or not xorb.is_staged or not xorb.is_placed:
        return False
    tx.run("UPDATE xet_xorbs SET is_staged = 0 WHERE hash = :hash", {"hash": value})
    return True
