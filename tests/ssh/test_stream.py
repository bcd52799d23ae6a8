"""The parts by themselves: bytes between loop and thread, the end of a pack, small pieces that wait."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gitserver.ssh.push import _PackEnd
from gitserver.ssh.session import Channel
from gitserver.ssh.stream import Stream
from storage.errors import Invalid


class Wire:
    """A client that notes what it is told."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.errors: list[bytes] = []
        self.turns: list[str] = []
        self.is_closed = False
        self.moved = asyncio.Event()  # something was sent, or goes on

    def send(self, data: bytes) -> None:
        if self.is_closed:
            raise BrokenPipeError
        self.sent.append(data)
        self.moved.set()

    def send_error(self, data: bytes) -> None:
        self.errors.append(data)

    def hold(self) -> None:
        self.turns.append("hold")

    def go_on(self) -> None:
        self.turns.append("go on")
        self.moved.set()


def run(work: Callable[[Stream, Wire], Awaitable[None]], idle: float = 30, session: float = 30) -> None:
    async def start() -> None:
        wire = Wire()
        await work(Stream(asyncio.get_running_loop(), wire, idle, session), wire)

    asyncio.run(asyncio.wait_for(start(), 60))


def test_reading_across_pieces() -> None:
    async def work(stream: Stream, wire: Wire) -> None:
        for piece in (b"a", b"bcd", b"efgh"):
            stream.feed(piece)
        stream.end()
        read = await asyncio.to_thread(lambda: [stream.read(3), stream.has_more(), stream.read(100), stream.has_more(), stream.read(1)])

        assert read == [b"abc", True, b"defgh", False, b""]

    run(work)


def test_what_was_written_goes_out_before_reading_waits() -> None:
    async def work(stream: Stream, wire: Wire) -> None:
        def ask() -> bytes:
            stream.write(b"question")
            return stream.read(6)

        asked = asyncio.get_running_loop().run_in_executor(None, ask)
        await wire.moved.wait()
        stream.feed(b"answer")

        assert await asked == b"answer"
        assert wire.sent == [b"question"]

    run(work)


def test_a_client_that_sends_too_much_is_held_up_until_it_was_read() -> None:
    async def work(stream: Stream, wire: Wire) -> None:
        for _ in range(10_000):
            stream.feed(b"x" * 10)
        for _ in range(20):
            stream.feed(b"x" * 100_000)
        stream.end()
        held = list(wire.turns)
        read = await asyncio.to_thread(stream.read, 3_000_000)
        await wire.moved.wait()

        assert held == ["hold"]
        assert len(read) == 2_100_000
        assert wire.turns == ["hold", "go on"]

    run(work)


def test_a_writer_waits_for_a_slow_client() -> None:
    async def work(stream: Stream, wire: Wire) -> None:
        stream.block()
        written: list[int] = []

        def write() -> None:
            for number in range(3):
                stream.write(b"x" * 300_000)
                written.append(number)

        writing = asyncio.get_running_loop().run_in_executor(None, write)
        await wire.moved.wait()
        before = list(written)
        stream.unblock()
        await writing

        assert before == []
        assert [len(piece) for piece in wire.sent] == [300_000] * 3

    run(work)


@pytest.mark.parametrize("is_told", [True, False])
def test_a_client_that_is_gone(is_told: bool) -> None:
    async def work(stream: Stream, wire: Wire) -> None:
        wire.is_closed = True
        if is_told:
            stream.lose()

        def write() -> None:
            stream.write(b"x")
            stream.flush()

        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(write)

    run(work)


@pytest.mark.parametrize(("idle", "session"), [(0.05, 30), (30, 0.05)])
def test_silence_has_an_end(idle: float, session: float) -> None:
    async def work(stream: Stream, wire: Wire) -> None:
        with pytest.raises(Invalid, match="silent for more than"):
            await asyncio.to_thread(stream.read, 1)

    run(work, idle, session)


@pytest.mark.parametrize("step", [1, 19, 20, 21, 1000])
def test_the_end_of_a_pack(step: int) -> None:
    data = b"PACK" + bytes(range(256)) * 3
    data += hashlib.sha1(data).digest()
    end = _PackEnd()
    reached = []
    for start in range(0, len(data), step):
        end.feed(data[start : start + step])
        reached.append(end.is_reached)

    assert reached == [False] * (len(reached) - 1) + [True]


def test_small_pieces_that_wait_are_kept_as_one() -> None:
    class Connection:
        """As much of one as a channel asks for."""

        logger = __import__("asyncssh").logging.logger

        def add_channel(self, channel: object) -> int:
            return 0

        def get_key_option(self, name: str, default: Any = None) -> Any:
            return default

    async def work() -> None:
        connection: Any = Connection()
        channel = Channel.on(connection, asyncio.get_running_loop())
        channel._send_state = "open"
        for number in range(5000):
            channel._accept_data(b"%d," % number)

        assert len(channel._recv_buf) == 1
        assert bytes(channel._recv_buf[0][0]) == b"".join(b"%d," % number for number in range(5000))

    asyncio.run(work())
