"""SSH by asyncssh: who may come in, and how much at once. Only this module and host_key know asyncssh.

Public keys alone let somebody in, as the user `git`; there are no passwords, terminals, forwardings, subsystems or shells.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address

import asyncssh

from accounts.keys.public_key import fingerprint
from accounts.keys.ssh_keys import KeyHolder
from gitserver.ssh.door import SessionHandler, SshRequest
from gitserver.ssh.session import Channel, Session
from storage.errors import HubError
from storage.limits import Limits

log = logging.getLogger(__name__)

_USER = "git"
_BACKLOG = 256
_VERSION = "KohakuHub"
_TOO_MANY = "Too many connections wait here to sign in, or are open. Open fewer at once, or try again in a moment."
# Slow ones would hold up the event loop: finite fields above 2048 bits, and groups that the client chooses.
_KEY_EXCHANGE = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
)
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr", "aes128-ctr")
_MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
_SIGNATURES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256")


class SshServer:
    """One worker's. `running` is where what must finish before a stop is noted; `origin` tells the hub's address over HTTP to somebody
    who came to a local address."""

    def __init__(self, door: SessionHandler, running: set[int], origin: Callable[[str], str]) -> None:
        self.door = door
        self.origin = origin
        self._running = running
        self._pool = ThreadPoolExecutor(door.limits.ssh_sessions, "ssh")
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._sessions: dict[int, int] = {}  # of each user
        self._server: asyncio.Server | None = None
        self._is_stopping = False

    @property
    def limits(self) -> Limits:
        return self.door.limits

    async def start(self, listener: socket.socket, host_key: asyncssh.SSHKey) -> None:
        logging.getLogger("asyncssh").setLevel(logging.ERROR)  # the door logs what is asked for
        loop = asyncio.get_running_loop()
        options = await asyncssh.SSHServerConnectionOptions.construct(
            config=None,
            server_factory=_Owner,
            server_version=_VERSION,
            server_host_keys=[host_key],
            kex_algs=[name for name in _KEY_EXCHANGE if name.encode() in _known_exchanges()],
            encryption_algs=_CIPHERS,
            mac_algs=_MACS,
            compression_algs=None,
            signature_algs=_SIGNATURES,
            login_timeout=self.limits.ssh_login_seconds,
            keepalive_interval=max(1, self.limits.ssh_idle_seconds // 4),
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            gss_kex=False,
            gss_auth=False,
            allow_pty=False,
            agent_forwarding=False,
        )
        self._server = await loop.create_server(lambda: _Connection(self, loop, options), sock=listener, backlog=_BACKLOG)

    def stop(self) -> None:
        """Take nobody in any more; what runs goes on."""
        self._is_stopping = True
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        for connection in list(self._connections):
            connection.abort()
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)

    def welcome(self, connection: "_Connection") -> None:
        """Those who wait without signing in make room for newcomers, the oldest first: so that idle ones cannot shut the door."""
        waiting = [other for other in self._connections if other.holder is None]
        from_there = [other for other in waiting if other.address == connection.address]
        self._connections[connection] = None
        if len(self._connections) > self.limits.ssh_connections or self._is_stopping:
            self._dismiss(connection, "ssh_connections")
        elif len(from_there) >= self.limits.ssh_address_waiting:
            self._dismiss(from_there[0], "ssh_address_waiting")
        elif len(waiting) >= self.limits.ssh_waiting:
            self._dismiss(waiting[0], "ssh_waiting")

    def forget(self, connection: "_Connection") -> None:
        self._connections.pop(connection, None)

    def has_room_for(self, holder: KeyHolder) -> bool:
        """For the connection by which the user has just signed in."""
        user_id = holder.principal.user_id
        mine = [other for other in self._connections if other.holder is not None and other.holder.principal.user_id == user_id]
        return len(mine) <= self.limits.ssh_user_connections

    async def find(self, mark: str) -> KeyHolder | None:
        return await asyncio.get_running_loop().run_in_executor(None, self.door.keys.find, mark)

    def note_use(self, holder: KeyHolder) -> None:
        asyncio.get_running_loop().run_in_executor(None, self._note_use, holder.key_id)

    def _note_use(self, key_id: int) -> None:
        try:
            self.door.keys.note_use(key_id)
        except HubError as error:
            log.warning("the use of an SSH key was not noted: %s", error.message)

    def _dismiss(self, connection: "_Connection", limit: str) -> None:
        """Told as far as the socket takes it: nothing waits for somebody who does not read."""
        log.warning("too many SSH connections, one from %s is closed (limit %s)", connection.address, limit)
        self.forget(connection)
        connection.disconnect(asyncssh.DISC_TOO_MANY_CONNECTIONS, _TOO_MANY)

    def run(self, session: Session, guest: SshRequest, user_id: int) -> None:
        """In a thread of its own; a session too many is told so."""
        mine, all_together = self._sessions.get(user_id, 0), sum(self._sessions.values())
        if mine >= self.limits.ssh_user_sessions or all_together >= self.limits.ssh_sessions or self._is_stopping:
            session.refuse("ERROR: The hub is busy or stopping, or you have too many sessions open. Try again in a moment.")
            return
        self._sessions[user_id] = mine + 1
        self._running.add(id(session))
        loop = asyncio.get_running_loop()
        stream = session.open(loop, self.limits)
        work = loop.run_in_executor(self._pool, self.door.serve, guest, stream)

        def done(future: "asyncio.Future[int]") -> None:
            self._running.discard(id(session))
            self._sessions[user_id] -= 1
            if not self._sessions[user_id]:
                del self._sessions[user_id]
            session.finish(1 if future.cancelled() or future.exception() else future.result())

        work.add_done_callback(done)


class _Connection(asyncssh.SSHServerConnection):
    """One client. `holder` is whose key was proven by a signature, and the only thing that tells who it is."""

    def __init__(self, house: SshServer, loop: asyncio.AbstractEventLoop, options: asyncssh.SSHServerConnectionOptions) -> None:
        super().__init__(loop, options)
        self.house = house
        self.holder: KeyHolder | None = None
        self.mark = ""
        self.address = ""
        self.sessions: set[Session] = set()
        self._tries = 0
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.address = str((transport.get_extra_info("peername") or ("",))[0])
        super().connection_made(transport)
        self.house.welcome(self)

    def connection_lost(self, exc: Exception | None = None) -> None:
        self.house.forget(self)
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """asyncssh keeps what the socket does not take: it is the sessions that must wait."""
        for session in self.sessions:
            session.hold_back(by="socket")

    def resume_writing(self) -> None:
        for session in self.sessions:
            session.let_go(by="socket")

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Clients ask first which of their keys will do; then one signs. Nobody is in before the signature is good."""
        self._tries += 1
        if self._tries > self.house.limits.ssh_keys_tried:
            raise asyncssh.PermissionDenied("Too many keys were tried; name the right one with: ssh -o IdentitiesOnly=yes -i KEY")
        if msg and _algorithm(signature) not in _SIGNATURES:
            return False  # asyncssh would take SHA-1
        mark = fingerprint(key_data)
        holder = await self.house.find(mark) if username == _USER else None
        if holder is None or not await super().validate_public_key(username, key_data, msg, signature):
            return False
        if msg:
            self.holder, self.mark = holder, mark
        return True

    def signed_in(self) -> None:
        if self.holder is None or not self.house.has_room_for(self.holder):
            self.disconnect(asyncssh.DISC_TOO_MANY_CONNECTIONS, "You have too many connections open. Close some, or try again in a moment.")
            return
        self.house.note_use(self.holder)
        self.rest()

    def new_session(self) -> tuple[Channel, Session]:
        if self.holder is None or len(self.sessions) >= self.house.limits.ssh_connection_sessions:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "Too many sessions on one connection.")
        session = Session(self._start, self._end)
        self.sessions.add(session)
        return Channel.on(self, asyncio.get_running_loop()), session

    def rest(self) -> None:
        """Without a session for long, the connection is closed."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self.house.limits.ssh_idle_seconds, self._leave)

    def _leave(self) -> None:
        if not self.sessions:
            self.close()

    def _start(self, session: Session, line: str, protocol: str) -> None:
        assert self.holder is not None
        local = self.get_extra_info("sockname") or ("",)
        who = self.holder.principal
        guest = SshRequest(self.mark, who.name, line, protocol, self.address, self.house.origin(str(local[0])))
        self.house.run(session, guest, who.user_id)

    def _end(self, session: Session) -> None:
        self.sessions.discard(session)
        if not self.sessions:
            self.rest()


class _Owner(asyncssh.SSHServer):
    """What asyncssh asks about a connection; all that is not named here it refuses by itself."""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        assert isinstance(conn, _Connection)
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        """True: there must be a proof. False would let anybody in."""
        if username != _USER:
            self._connection.send_auth_banner(f"The user is called {_USER} here: ssh {_USER}@HOST. Your key tells who you are.\r\n")
        return True

    def auth_completed(self) -> None:
        self._connection.signed_in()

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """The connection has found whose key it is before it asks."""
        return True

    def session_requested(self) -> "tuple[Channel, Session]":
        return self._connection.new_session()


def web_origin(base_url: str, http_port: int) -> Callable[[str], str]:
    """Where the hub is over HTTP for those who reached it at a local address: the setting, else the same address and the other port."""

    def origin(local: str) -> str:
        if base_url:
            return base_url.rstrip("/")
        with suppress(ValueError):
            address = ip_address(local.partition("%")[0])
            mapped = getattr(address, "ipv4_mapped", None) or address
            return f"http://[{mapped}]:{http_port}" if mapped.version == 6 else f"http://{mapped}:{http_port}"
        return ""

    return origin


def _algorithm(signature: bytes) -> str:
    """Of `string algorithm, string bytes` (RFC 4253 §6.6)."""
    return signature[4 : 4 + int.from_bytes(signature[:4], "big")].decode("ascii", "replace")


def _known_exchanges() -> list[bytes]:
    from asyncssh.kex import get_kex_algs

    return get_kex_algs()
