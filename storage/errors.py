"""Every error that a caller may be told of, drawn once. Each door renders it in its client's dialect.

    HubError                    500
    ├── Moved                   307  a repository that has another name now; carries `name`
    ├── Invalid                 400  the request is malformed or says something impossible
    │   ├── BadName             400  a user, repository, ref or path name that may not exist
    │   ├── BadPack             400  a pack that is corrupt, incomplete or fails fsck
    │   ├── WrongBytes          422  an object that came another way has other bytes than were announced
    │   ├── BadPath             422  a path that no tree may hold
    │   ├── TooLarge            413  over a limit from Limits
    │   └── TooSlow             408  a body that comes at less than the least rate
    ├── Unauthenticated         401  credentials are missing or wrong
    ├── Forbidden               403  known, but may not do this
    ├── NotFound                404
    │   ├── RepoNotFound        404  missing, or private to somebody else: never told apart
    │   ├── RevisionNotFound    404
    │   ├── EntryNotFound       404  no such path in that revision
    │   └── ObjectNotFound      404  no such git object or stored blob
    │       └── TooManyTags     404  an annotated tag that leads to its object through more tags than are followed
    ├── Conflict                409
    │   ├── AlreadyExists       409  a name that is taken
    │   └── Stale               412  what the caller saw has changed since
    ├── Unsupported             415  a media type or encoding that this route does not take
    ├── Throttled               429  carries retry_after seconds
    └── Unavailable             503  stopping, overloaded, or a dependency is down: try again
        ├── Dropped             503  stored objects that the caller counted on were removed meanwhile: do it once more
        └── DiskFull            507  no room: the operator must make some, so trying again at once does not help

A message says what happened, to what, and what to do next. It never holds a secret.
"""

WRONG_CREDENTIALS = "Invalid credentials in Authorization header"  # huggingface_hub compares this text


class HubError(Exception):
    """Root of the tree; `status` is the HTTP status that fits, whatever the dialect around it."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Moved(HubError):
    status = 307

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class Invalid(HubError):
    status = 400


class BadName(Invalid):
    pass


class BadPack(Invalid):
    pass


class WrongBytes(Invalid):
    status = 422


class BadPath(Invalid):
    status = 422


class TooLarge(Invalid):
    status = 413


class TooSlow(Invalid):
    status = 408


class Unauthenticated(HubError):
    status = 401


class Forbidden(HubError):
    status = 403


class NotFound(HubError):
    status = 404


class RepoNotFound(NotFound):
    pass


class RevisionNotFound(NotFound):
    pass


class EntryNotFound(NotFound):
    """`commit` is the 40-hex commit that was searched; HF clients cache the absence under it."""

    def __init__(self, message: str, commit: str = "") -> None:
        super().__init__(message)
        self.commit = commit


class ObjectNotFound(NotFound):
    pass


class TooManyTags(ObjectNotFound):
    pass


class Conflict(HubError):
    status = 409


class AlreadyExists(Conflict):
    pass


class Stale(Conflict):
    status = 412


class Unsupported(HubError):
    status = 415


class Throttled(HubError):
    status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(HubError):
    status = 503


class Dropped(Unavailable):
    pass


class DiskFull(Unavailable):
    status = 507
