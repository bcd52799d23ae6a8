"""What every session begins with: whose key it is, and which repository the command may use. Asked anew whenever something is done."""

from dataclasses import dataclass

from accounts.access import require
from accounts.access_control import AccessControl
from accounts.keys.ssh_keys import KeyHolder, SshKeys
from gitserver.ssh.command import SshCommand, SshVerb
from storage.errors import Forbidden, Moved, Unauthenticated
from storage.records import Access, Principal, Repo, RepoName


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let in, and to what. `found` is None where nothing is, and the caller may create `name` by a push."""

    holder: KeyHolder
    name: RepoName
    found: Repo | None
    is_moved: bool = False

    @property
    def repo(self) -> Repo:
        """Raises RepoNotFound."""
        return require(self.holder.principal, self.found, self.name, Access.READ)


class SessionAccess:
    """Of one session: `fingerprint` is that of the key which the client has proven to hold."""

    def __init__(self, keys: SshKeys, access: AccessControl, fingerprint: str, *, may_create: bool = False) -> None:
        self._keys = keys
        self._access = access
        self._fingerprint = fingerprint
        self._may_create = may_create

    def holder(self) -> KeyHolder:
        """Raises Unauthenticated when the key was deleted, or its account closed, since the client came."""
        holder = self._keys.find(self._fingerprint)
        if holder is None:
            raise Unauthenticated("This SSH key is no longer known here. Add it again, or use another one.")
        return holder

    def admit(self, command: SshCommand) -> Admission:
        """Raises Unauthenticated, RepoNotFound (missing and private alike) and Forbidden. A name from before a move leads on."""
        holder = self.holder()
        try:
            return Admission(holder, command.name, self._authorize(holder.principal, command.name, _needs(command)))
        except Moved as moved:
            name = RepoName.parse(command.name.kind, *moved.name.split("/"))
            return Admission(holder, name, self._authorize(holder.principal, name, _needs(command)), is_moved=True)

    def _authorize(self, principal: Principal, name: RepoName, needs: Access) -> Repo | None:
        """What may be done on HTTP with another token is done here with another key."""
        try:
            return self._access.authorize(principal, name, needs, creates=self._may_create and needs >= Access.WRITE)
        except Forbidden as error:
            message = (
                f"You may read {name.full}, but this needs the {needs.name.lower()} right, which {principal.name} lacks."
                f" Ask {name.namespace}, its owner, for write access, or use the SSH key of an account that has it."
            )
            raise Forbidden(message) from error


def _needs(command: SshCommand) -> Access:
    return Access.WRITE if command.verb is SshVerb.RECEIVE_PACK or command.is_upload else Access.READ
