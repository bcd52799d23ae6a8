"""The lock commands of git-lfs-transfer (git-lfs docs/proposals/ssh_adapter.md): lock, list-lock and unlock.

git-lfs also says `list-locks`, and reads the lock that is gone from the answer to `unlock`: both stand in its client, not in that document.
"""

from collections.abc import Callable, Iterator, Mapping

from gitserver.protocol.pktline import DELIM, FLUSH, pkt
from gitserver.ssh.entry import Admission
from lfs.locks.locks import FileLock, FileLocks, LockPage, PathLocked
from lfs.locks.wire import checked_path, locked_at, parse_id, parse_query
from storage.limits import Limits
from storage.records import Access


class LockCommands:
    """Of one session: `admit` asks anew at each command whether its user may read or write."""

    def __init__(self, admit: Callable[[Access], Admission], locks: FileLocks, limits: Limits) -> None:
        self._admit = admit
        self._locks = locks
        self._limits = limits

    def lock(self, arguments: Mapping[str, str]) -> Iterator[bytes]:
        visit = self._admit(Access.WRITE)
        try:
            made = self._locks.create(visit.repo, visit.holder.principal, checked_path(arguments.get("path", ""), self._limits))
        except PathLocked as error:
            yield status(error.status) + _told(error.lock) + DELIM + pkt(error.message.encode() + b"\n") + FLUSH
            return
        yield status(201) + _told(made) + FLUSH

    def list(self, arguments: Mapping[str, str]) -> Iterator[bytes]:
        visit, query = self._admit(Access.READ), parse_query(arguments, self._limits)
        page = self._locks.page(visit.found.id, query) if visit.found is not None else LockPage(())
        yield status(200) + (pkt(b"next-cursor=%d\n" % page.next) if page.next else b"") + DELIM
        for lock in page.locks:
            yield _listed(lock, is_ours=lock.user_id == visit.holder.principal.user_id)
        yield FLUSH

    def unlock(self, lock_id: str, arguments: Mapping[str, str]) -> Iterator[bytes]:
        visit = self._admit(Access.WRITE)
        force = arguments.get("force", "") == "true"
        gone = self._locks.release(visit.repo, visit.holder.principal, parse_id(lock_id), force=force)
        yield status(200) + _told(gone) + FLUSH


def status(code: int) -> bytes:
    return pkt(f"status {code:03}\n".encode())


def _told(lock: FileLock) -> bytes:
    shown = (b"id=%d" % lock.id, b"path=" + lock.path, b"locked-at=" + locked_at(lock).encode(), b"ownername=" + lock.owner.encode())
    return b"".join(pkt(line + b"\n") for line in shown)


def _listed(lock: FileLock, *, is_ours: bool) -> bytes:
    facts = {
        b"path": lock.path,
        b"locked-at": locked_at(lock).encode(),
        b"ownername": lock.owner.encode(),
        b"owner": b"ours" if is_ours else b"theirs",
    }
    return pkt(b"lock %d\n" % lock.id) + b"".join(pkt(b"%s %d %s\n" % (name, lock.id, fact)) for name, fact in facts.items())
