"""Git objects made by the hub: bytes that depend on nothing but the arguments (I1)."""

from collections.abc import Sequence

from gitserver.objects.store import Kind, RawObject
from storage.records import Oid, Signature

_FORBIDDEN = bytes.maketrans(b"<>\n\0", b"    ")


def make_tag(target: Oid, kind: Kind, name: bytes, tagger: Signature, message: str) -> RawObject:
    """An annotated tag (gitformat: object, type, tag, tagger, message)."""
    text = message.replace("\0", "").rstrip("\n") + "\n"
    head = b"object %s\ntype %s\ntag %s\ntagger %s\n\n" % (target.hex().encode(), kind.text, name, person(tagger))
    return RawObject(Kind.TAG, head + text.encode("utf-8", "replace"))


def make_commit(tree: Oid, parents: Sequence[Oid], author: Signature, message: str) -> RawObject:
    """A commit whose author is its committer; the message ends in one newline as git writes it."""
    text = message.replace("\0", "").strip() + "\n"
    lines = [b"tree " + tree.hex().encode(), *(b"parent " + parent.hex().encode() for parent in parents)]
    who = person(author)
    return RawObject(Kind.COMMIT, b"\n".join((*lines, b"author " + who, b"committer " + who, b"", text.encode("utf-8", "replace"))))


def person(signature: Signature) -> bytes:
    """`Name <email> seconds zone`, without the characters that would break the line."""
    sign = b"-" if signature.zone_minutes < 0 else b"+"
    hours, minutes = divmod(abs(signature.zone_minutes), 60)
    name = signature.name.translate(_FORBIDDEN).strip()
    email = signature.email.translate(_FORBIDDEN).strip()
    return b"%s <%s> %d %s%02d%02d" % (name, email, signature.time, sign, hours, minutes)
