"""A job as others see it."""

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobKey:
    """A job is named by what it does and what it is about; there is never a second one of that name."""

    kind: str
    subject: str


@dataclass(frozen=True, slots=True)
class Lease:
    """A job in the hands of `owner`. `tries` counts this one."""

    key: JobKey
    repo_id: str
    owner: str
    tries: int


@dataclass(frozen=True, slots=True)
class JobStatus:
    """`due_at` is when it begins next (waiting); `total` 0 means unknown; `message` is why the last try failed."""

    state: JobState
    due_at: int
    every: int
    tries: int
    progress: str
    done: int
    total: int
    message: str
    begun_at: int | None
    ended_at: int | None


class Fenced(Exception):
    """The job is not ours any more: its lease was over, or it was removed. Whoever runs it stops without a word."""


class Interrupted(Exception):
    """The hub is stopping; the job goes back to the queue and its try does not count."""
