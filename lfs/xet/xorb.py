"""Xorbs as they come (huggingface.co/docs/xet/xorb): chunks, each with a header of 8 bytes, raw or compressed.

Decoded while they arrive: one chunk in memory, sizes judged before anything is inflated.
"""

from array import array
from collections.abc import Callable

from lz4.frame import LZ4FrameDecompressor

from lfs.xet.hashes import Chunks, XetHash, chunk_hash, xorb_hash
from storage.errors import Invalid
from storage.limits import Limits

_HEADER = 8
_TRAILER = b"XETBLOB"  # older clients send an index behind the chunks; ours is made from what was hashed here
_RAW, _LZ4, _GROUPED = 0, 1, 2
_SLACK = 1024  # a frame may be a little larger than what it holds


class XorbDecoder:
    """Fed with the body, hands the raw bytes of each chunk to `write`. Raises Invalid for anything that is no xorb."""

    def __init__(self, write: Callable[[bytes | memoryview], object], limits: Limits) -> None:
        self._write = write
        self._limits = limits
        self._rest = b""
        self._is_over = False
        self._hashes: list[XetHash] = []
        self._sizes = array("I")

    def feed(self, data: bytes) -> None:
        if self._is_over:
            return
        view = memoryview(self._rest + data if self._rest else data)
        position = 0
        while (end := self._chunk_end(view, position)) is not None:
            self._chunk(view[position:end])
            position = end
        self._rest = b"" if self._is_over else bytes(view[position:])

    def finish(self) -> tuple[XetHash, Chunks]:
        """The xorb's hash and its chunks."""
        if self._rest:
            raise Invalid(f"The xorb ends inside chunk {len(self._sizes)}. Send it again.")
        if not self._sizes:
            raise Invalid("The xorb holds no chunk. Check the client.")
        chunks = Chunks(b"".join(self._hashes), self._sizes)
        return xorb_hash(chunks), chunks

    def _chunk_end(self, view: memoryview, position: int) -> int | None:
        """Where the chunk at `position` ends, once all of it is here."""
        left = len(view) - position
        if left and bytes(view[position : position + len(_TRAILER)]) == _TRAILER[:left]:
            self._is_over = left >= len(_TRAILER)
            return None
        if left < _HEADER:
            return None
        packed = int.from_bytes(view[position + 1 : position + 4], "little")
        raw = int.from_bytes(view[position + 5 : position + 8], "little")
        most = self._limits.xet_chunk_bytes
        if view[position] != 0:
            raise Invalid(f"Chunk {len(self._sizes)} of the xorb has the unknown version {view[position]}.")
        if not 0 < raw <= most or not 0 < packed <= most + _SLACK:
            raise Invalid(f"Chunk {len(self._sizes)} of the xorb claims {raw} bytes in {packed}; 1 to {most} are allowed.")
        end = position + _HEADER + packed
        return end if end <= len(view) else None

    def _chunk(self, chunk: memoryview) -> None:
        if len(self._sizes) >= self._limits.xet_xorb_chunks:
            raise Invalid(f"The xorb holds more than {self._limits.xet_xorb_chunks} chunks.")
        size = int.from_bytes(chunk[5:8], "little")
        raw = _inflate(chunk[4], chunk[_HEADER:], size)
        if raw is None or len(raw) != size:
            raise Invalid(f"Chunk {len(self._sizes)} of the xorb does not hold the {size} bytes that its header says. Send it again.")
        self._hashes.append(chunk_hash(raw))
        self._sizes.append(size)
        self._write(raw)


def _inflate(scheme: int, data: memoryview, size: int) -> bytes | memoryview | None:
    """The raw bytes, never more than one over `size`; None for a broken frame."""
    if scheme == _RAW:
        return data
    if scheme not in (_LZ4, _GROUPED):
        raise Invalid(f"Compression scheme {scheme} of a chunk is not known; 0, 1 and 2 are.")
    decoder = LZ4FrameDecompressor()
    try:
        raw = decoder.decompress(data, max_length=size + 1)
    except RuntimeError:  # what lz4 raises for every broken frame
        return None
    if not decoder.eof or decoder.unused_data:
        return None
    return raw if scheme == _LZ4 else _regroup(raw)


def _regroup(grouped: bytes) -> bytes:
    """Undo byte grouping: the first bytes of all groups of four stand first, then the second ones, and so on."""
    raw = bytearray(len(grouped))
    start = 0
    for lane in range(4):
        size = (len(grouped) - lane + 3) // 4
        raw[lane::4] = grouped[start : start + size]
        start += size
    return bytes(raw)
