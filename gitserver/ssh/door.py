"""The door for SSH: a line of a known key's holder, turned into the same use cases as over HTTP."""

import logging
import time
from dataclasses import dataclass, replace

from accounts.access_control import AccessControl
from accounts.keys.ssh_keys import SshKeys
from gitserver.ssh.authenticate import authenticate
from gitserver.ssh.command import SshCommand, SshVerb, parse
from gitserver.ssh.entry import Admission, SessionAccess
from gitserver.ssh.fetch import Fetching
from gitserver.ssh.lock_commands import LockCommands
from gitserver.ssh.push import Pushing
from gitserver.ssh.stream import Stream
from gitserver.ssh.transfer import Transfer
from gitserver.update.creation import PushCreation
from lfs.locks.locks import FileLocks
from lfs.objects.possession import Possession
from storage.blobs.base import BlobStore
from storage.errors import HubError, Invalid, RepoNotFound
from storage.limits import Limits
from storage.records import Access, Repo

log = logging.getLogger("hub.requests")


@dataclass(frozen=True, slots=True)
class SshRequest:
    """Who came, and what he asks for. `fingerprint` is of the key that was proven; `line` is empty for a shell."""

    fingerprint: str
    user: str  # for the log
    line: str
    protocol: str  # GIT_PROTOCOL
    address: str
    origin: str  # the hub's address over HTTP


class SessionHandler:
    def __init__(
        self,
        keys: SshKeys,
        access: AccessControl,
        fetching: Fetching,
        pushing: Pushing,
        possession: Possession,
        blobs: BlobStore,
        locks: FileLocks,
        limits: Limits,
        creation: PushCreation | None = None,
    ) -> None:
        self.keys = keys
        self.limits = limits
        self._access = access
        self._fetching = fetching
        self._pushing = pushing
        self._possession = possession
        self._blobs = blobs
        self._locks = locks
        self._creation = creation

    def serve(self, guest: SshRequest, stream: Stream) -> int:
        """The exit status: 0 done, 1 refused, with the reason on standard error."""
        started = time.perf_counter()
        status = 1
        try:
            status = self._serve(guest, stream)
            stream.flush()
        except HubError as error:
            stream.write_error("ERROR: Repository not found." if isinstance(error, RepoNotFound) else f"ERROR: {error.message}")
        except ConnectionError:
            pass  # the client is gone
        except Exception:
            log.exception("unexpected error in ssh %r", guest.line[:200])
            stream.write_error("ERROR: Something went wrong here; the operator's log says what.")
        finally:
            self._log(guest, status, started)
        return status

    def _serve(self, guest: SshRequest, stream: Stream) -> int:
        entry = SessionAccess(self.keys, self._access, guest.fingerprint, may_create=self._creation is not None)
        if not guest.line:
            name = entry.holder().principal.name
            stream.write_error(f"Hi {name}! Your key is good. There is no shell access here; use git clone, fetch and push.")
            return 1
        command = parse(guest.line, self.limits.ssh_command_bytes)
        visit = entry.admit(command)
        if visit.is_moved:
            stream.write_error(f"{command.name.full} is called {visit.repo.name.full} now. Tell git: git remote set-url origin …")
        return self._run(command, entry, visit, guest, stream)

    def _run(self, command: SshCommand, entry: SessionAccess, visit: Admission, guest: SshRequest, stream: Stream) -> int:
        def admit() -> Admission:
            return entry.admit(command)

        if command.verb is SshVerb.UPLOAD_PACK:
            return self._fetching.serve(lambda: admit().repo, guest.protocol, guest.origin, stream)
        if command.verb is SshVerb.RECEIVE_PACK:
            return self._pushing.serve(admit, guest.protocol, guest.origin, stream)
        if command.verb is SshVerb.LFS_TRANSFER:
            return self._transfer(command, entry, stream).serve()
        if not guest.origin:
            raise Invalid("The hub does not know its own address over HTTP. Ask the operator to set KOHAKU_HUB_BASE_URL.")
        stream.write(authenticate(self.keys, visit, self.limits, guest.origin, is_upload=command.is_upload))
        return 0

    def _transfer(self, command: SshCommand, entry: SessionAccess, stream: Stream) -> Transfer:
        def admit(needs: Access) -> Admission:
            return entry.admit(replace(command, is_upload=True) if needs >= Access.WRITE else command)

        def find() -> Repo:
            visit = entry.admit(command)
            if visit.found is None and self._creation is not None:
                return self._creation.create(visit.holder.principal, visit.name)
            return visit.repo

        is_upload, locks = command.is_upload, LockCommands(admit, self._locks, self.limits)
        return Transfer(find, self._possession, self._blobs, locks, self.limits, stream, is_upload=is_upload)

    def _log(self, guest: SshRequest, status: int, started: float) -> None:
        milliseconds = round((time.perf_counter() - started) * 1000, 1)
        shown = guest.line.encode("unicode_escape").decode("ascii")[:300] or "shell"
        extra = {
            "method": "SSH",
            "path": shown,
            "status": status,
            "milliseconds": milliseconds,
            "address": guest.address,
            "user": guest.user,
        }
        log.info("SSH %s %s %d %.1f ms", guest.user, shown, status, milliseconds, extra=extra)
