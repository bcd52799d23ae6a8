"""Which namespaces of refs clients may write. What is nobody's own is stored and served to git as it comes, so that mirrors fit in."""

from storage.records import ZERO_OID, RefUpdate

NO_NAME = "funny refname"  # git's words; what follows them is ours
_REFS = b"refs/"
_HIDDEN = (b"refs/pull/",)  # what other hubs keep for themselves, and mirrors of them bring along
_OWN = {
    b"refs/pr/": "refs/pr/ is written by the hub for pull requests; push to a branch",
    b"refs/for/": "refs/for/ is reserved for proposed changes, which are not taken yet; push to a branch",
    b"refs/hub/": "refs/hub/ is written by the hub; push to a branch or a tag",
}
_FOLDERS = (b"refs/heads/", b"refs/tags/", b"refs/notes/", b"refs/convert/", *_HIDDEN, *_OWN)


def refusal_of(update: RefUpdate) -> str:
    """Why a client may not write in the namespace, in words for it; empty when it may. The name's form was looked at before."""
    if not update.ref.startswith(_REFS) or update.ref + b"/" in _FOLDERS:
        return NO_NAME
    if update.ref.startswith(_HIDDEN):
        return "deny deleting a hidden ref" if update.new == ZERO_OID else "deny updating a hidden ref"  # git's words
    return next((reason for prefix, reason in _OWN.items() if update.ref.startswith(prefix)), "")


def is_open(ref: bytes) -> bool:
    """Clients may write in the namespace of `ref`, so a mirror of another repository has its refs there too."""
    return not refusal_of(RefUpdate(ref, ZERO_OID, ZERO_OID))
