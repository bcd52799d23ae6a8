"""A push that arrived whole: judged before it is taken, and reported. Shared by HTTP and SSH."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gitserver.protocol.pktline import FLUSH, pkt, side_band
from gitserver.receive.commands import PushRequest
from gitserver.update.pusher import Pusher, PushResult
from gitserver.update.ref_policy import IS_DEFAULT, how_to_change_default
from storage.disk_space import DiskSpace
from storage.errors import DiskFull, HubError
from storage.limits import Limits
from storage.records import ZERO_OID, Principal, Repo
from storage.versions.base import RefResult

_REPORTS = (b"report-status", b"report-status-v2")


@dataclass(frozen=True, slots=True)
class Push:
    """What came: the commands, how large the pack behind them is (0: none came), its file, and why it could not be kept."""

    request: PushRequest
    size: int
    pack: Path | None
    trouble: DiskFull | None = None


class Reception:
    def __init__(self, pusher: Pusher, space: DiskSpace, limits: Limits) -> None:
        self._pusher = pusher
        self._space = space
        self._limits = limits

    def take(self, repo: Repo, principal: Principal, push: Push, tell: Callable[[str], None]) -> PushResult:
        """`tell` gets progress and reasons, with their line ends."""
        updates = push.request.updates
        if len(updates) > self._limits.ref_commands:
            tell(f"The push updates {len(updates)} refs; {self._limits.ref_commands} are taken at once. Push fewer at a time.\n")
            return PushResult("", [RefResult(update, "too many refs in one push") for update in updates])
        if push.size > self._limits.pack_bytes:
            message = f"The pack has more than {self._limits.pack_bytes} bytes. Push fewer commits at a time, large files with git lfs."
            tell(message + "\n")
            return PushResult(message, [RefResult(update, "unpacker error") for update in updates])
        if not push.size and any(update.new != ZERO_OID for update in updates):
            tell("No pack came after the list of refs: the connection was cut, or the client sent none. Push again.\n")
            return PushResult("eof before pack header was fully read", [RefResult(update, "unpacker error") for update in updates])
        try:
            if push.trouble is not None and push.size:
                raise push.trouble
            with self._space.guard():
                result = self._pusher.receive(repo, principal, push.request, push.pack, tell)
        except HubError as error:
            tell(error.message + "\n")
            return PushResult("", [RefResult(update, error.message) for update in updates])
        for ref in result.refs:
            if ref.reason == IS_DEFAULT:
                tell(f"{ref.update.ref.decode(errors='replace')} is the default branch. {how_to_change_default(repo)}\n")
        return result


def report(request: PushRequest, result: PushResult) -> Iterator[bytes]:
    """report-status; with report-status-v2 also where a ref stands that was merged with what came in between."""
    if not any(request.has(name) for name in _REPORTS):
        return
    lines = [pkt(f"unpack {result.unpack or 'ok'}\n".encode())]
    for ref in result.refs:
        reason = " ".join(ref.reason.split()).encode()
        lines.append(pkt(b"ng %s %s\n" % (ref.update.ref, reason) if reason else b"ok %s\n" % ref.update.ref))
        if ref.merged is not None and not reason and request.has(_REPORTS[1]):
            lines.append(pkt(b"option old-oid %s\n" % ref.update.old.hex().encode()))
            lines.append(pkt(b"option new-oid %s\n" % ref.merged.hex().encode()))
    lines.append(FLUSH)
    if request.has(b"side-band-64k"):
        yield from side_band(1, b"".join(lines))
        yield FLUSH
    else:
        yield from lines
