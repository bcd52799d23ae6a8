"""One session on an SSH connection: the channel's bytes to and from the thread that works for it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import asyncssh

from gitserver.ssh.stream import Stream
from storage.limits import Limits

_WINDOW = 2 << 20  # what a client may send before it is answered
_PACKET = 32 * 1024
_PROTOCOL = b"GIT_PROTOCOL"
_MOST_PROTOCOL = 1024


class Session(asyncssh.SSHServerSession[bytes]):
    """The Wire of a Stream. `start` is called with the command's line and GIT_PROTOCOL, `end` when the channel is gone."""

    def __init__(self, start: Callable[["Session", str, str], None], end: Callable[["Session"], None]) -> None:
        self._start = start
        self._end = end
        self._line = ""
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._stream: Stream | None = None
        self._held_back: set[str] = set()

    # What asyncssh calls.

    def connection_made(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
        self._channel = chan

    def shell_requested(self) -> bool:
        return True  # to say that there is none

    def exec_requested(self, command: str) -> bool:
        self._line = command
        return True

    def session_started(self) -> None:
        assert self._channel is not None
        protocol = self._channel.get_environment_bytes().get(_PROTOCOL, b"")
        self._start(self, self._line, protocol.decode("ascii", "replace"))

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if self._stream is not None:
            self._stream.feed(bytes(data))

    def eof_received(self) -> bool:
        if self._stream is not None:
            self._stream.end()
        return True  # the answer may still come

    def pause_writing(self) -> None:
        self.hold_back(by="window")

    def resume_writing(self) -> None:
        self.let_go(by="window")

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel = None
        if self._stream is not None:
            self._stream.lose()
        self._end(self)

    # What the server calls.

    def open(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> Stream:
        self._stream = Stream(loop, self, limits.ssh_idle_seconds, limits.ssh_session_seconds)
        if self._held_back:
            self._stream.block()
        return self._stream

    def refuse(self, text: str) -> None:
        self.send_error(text.encode() + b"\n")
        self.finish(1)

    def finish(self, status: int) -> None:
        if self._channel is not None:
            with suppress(OSError):
                self._channel.exit(status)

    def hold_back(self, *, by: str) -> None:
        self._held_back.add(by)
        if self._stream is not None:
            self._stream.block()

    def let_go(self, *, by: str) -> None:
        self._held_back.discard(by)
        if self._stream is not None and not self._held_back:
            self._stream.unblock()

    # The Wire.

    def send(self, data: bytes) -> None:
        if self._channel is None:
            raise BrokenPipeError("the channel is closed")
        self._channel.write(data)

    def send_error(self, data: bytes) -> None:
        if self._channel is not None:
            with suppress(OSError):
                self._channel.write_stderr(data.replace(b"\n", b"\r\n"))

    def hold(self) -> None:
        if self._channel is not None:
            self._channel.pause_reading()

    def go_on(self) -> None:
        if self._channel is not None:
            self._channel.resume_reading()


class Channel(asyncssh.SSHServerChannel[bytes]):
    """asyncssh's, with bounds: it keeps one variable of the environment, and small pieces of what waits to be read as one."""

    @classmethod
    def on(cls, connection: asyncssh.SSHServerConnection, loop: asyncio.AbstractEventLoop) -> "Channel":
        return cls(connection, loop, False, False, False, 0, 1024, None, "strict", _WINDOW, _PACKET)

    def _process_env_request(self, packet: asyncssh.packet.SSHPacket) -> bool:
        key, value = packet.get_string(), packet.get_string()
        packet.check_end()
        if key != _PROTOCOL or len(value) > _MOST_PROTOCOL:
            return False
        self._env[key] = value
        return True

    def _accept_data(self, data: bytes, datatype: asyncssh.DataType = None) -> None:
        """A window of single bytes would take a hundred times its size."""
        super()._accept_data(data, datatype)
        if len(self._recv_buf) > 1 and self._recv_buf[-2][1] == datatype:
            last, _ = self._recv_buf.pop()
            first, _ = self._recv_buf[-1]
            joined = first if isinstance(first, bytearray) else bytearray(first)
            joined += last
            self._recv_buf[-1] = (joined, datatype)  # type: ignore[assignment]  # as good as bytes
