"""Deltas in git's format (gitformat-pack): what is the same in front and behind, and between them blocks that stand anywhere in the base.

Linear in the sizes of both, whatever they hold: blocks are looked up whole in a dict whose hash strangers cannot aim at, of equal blocks
the first few are tried, and what was compared is copied and never compared again.
"""

from gitserver.objects.entries import size_bytes

_BLOCK = 16
_SAME = 4  # equal blocks of the base that are tried
_COPY = 0xFFFFFF  # the most that one instruction copies or
_INSERT = 127  # inserts
_FIRST_STEP, _LAST_STEP = 32, 1 << 16


def make_delta(base: bytes, target: bytes, limit: int) -> bytes | None:
    """What makes `target` of `base`; None when it would have more than `limit` bytes."""
    out = _Delta(limit, size_bytes(len(base)) + size_bytes(len(target)))
    most = min(len(base), len(target))
    front = _common(base, 0, target, 0, most)
    behind = _common_behind(base, target, most - front)
    out.copy(0, front)
    if not _fill(out, base, target, front, len(target) - behind):
        return None
    out.copy(len(base) - behind, behind)
    return out.finish()


class _Delta:
    """Instructions as they come; copies that follow each other become one."""

    def __init__(self, limit: int, head: bytes) -> None:
        self._limit = limit
        self._pieces = [head]
        self._size = len(head)
        self._start = self._length = 0

    def copy(self, start: int, length: int) -> None:
        if not length:
            return
        if self._length and self._start + self._length == start:
            self._length += length
            return
        self._flush()
        self._start, self._length = start, length

    def insert(self, data: bytes) -> None:
        if not data:
            return
        self._flush()
        for at in range(0, len(data), _INSERT):
            piece = data[at : at + _INSERT]
            self._add(bytes((len(piece),)) + piece)

    def is_over(self, pending: int) -> bool:
        """Whether the limit is reached, with `pending` bytes that are still to be inserted."""
        return self._size + pending > self._limit

    def finish(self) -> bytes | None:
        self._flush()
        return b"".join(self._pieces) if self._size <= self._limit else None

    def _flush(self) -> None:
        while self._length:
            size = min(self._length, _COPY)
            self._add(_copy(self._start, size))
            self._start += size
            self._length -= size

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)


def _fill(out: _Delta, base: bytes, target: bytes, at: int, end: int) -> bool:
    """The middle of `target`, from `at` to `end`; False when it grew over the limit."""
    pending = at  # from here on to be inserted
    blocks = _blocks(base) if end - at >= _BLOCK else {}
    while at + _BLOCK <= end:
        places = blocks.get(target[at : at + _BLOCK])
        if places is None:
            at += 1
            if not at & 63 and out.is_over(at - pending):
                return False
            continue
        length, place = max((_common(base, found, target, at, min(len(base) - found, end - at)), found) for found in places)
        while at > pending and place and base[place - 1] == target[at - 1]:
            at, place, length = at - 1, place - 1, length + 1
        out.insert(target[pending:at])
        out.copy(place, length)
        at = pending = at + length
    out.insert(target[pending:end])
    return not out.is_over(0)


def _blocks(base: bytes) -> dict[bytes, list[int]]:
    """Where each block of the base stands."""
    found: dict[bytes, list[int]] = {}
    for at in range(0, len(base) - _BLOCK + 1, _BLOCK):
        places = found.setdefault(base[at : at + _BLOCK], [])
        if len(places) < _SAME:
            places.append(at)
    return found


def _common(one: bytes, at: int, other: bytes, there: int, most: int) -> int:
    """How many bytes are the same from both places on, at most `most`. The cost follows the answer."""
    length, step = 0, _FIRST_STEP
    while length < most:
        step = min(step, most - length)
        if one[at + length : at + length + step] == other[there + length : there + length + step]:
            length += step
            step = min(2 * step, _LAST_STEP)
        elif step == 1:
            return length
        else:
            step //= 2
            if step < 4:
                return length + _first_difference(one, at + length, other, there + length, most - length)
    return length


def _first_difference(one: bytes, at: int, other: bytes, there: int, most: int) -> int:
    count = 0
    while count < most and one[at + count] == other[there + count]:
        count += 1
    return count


def _common_behind(one: bytes, other: bytes, most: int) -> int:
    """How many bytes are the same at the ends of both."""
    length, step = 0, _FIRST_STEP
    while length < most:
        step = min(step, most - length)
        end, there = len(one) - length, len(other) - length
        if one[end - step : end] == other[there - step : there]:
            length += step
            step = min(2 * step, _LAST_STEP)
        elif step == 1:
            return length
        else:
            step //= 2
    return length


def _copy(start: int, size: int) -> bytes:
    flags = 0x80
    out = bytearray(1)
    for bit, byte in enumerate((start >> shift) & 0xFF for shift in (0, 8, 16, 24)):
        if byte:
            flags |= 1 << bit
            out.append(byte)
    for bit, byte in enumerate(((size >> shift) & 0xFF for shift in (0, 8, 16)), 4):
        if byte:
            flags |= 1 << bit
            out.append(byte)
    out[0] = flags
    return bytes(out)
