"""The queue: what is due is run once, goes on after a death, and gives up in the end."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from storage.errors import Invalid, Unavailable
from storage.jobs import queue
from storage.jobs.base import Fenced, Interrupted, JobKey, JobState
from storage.jobs.queue import Jobs
from storage.jobs.runner import JobRunner, Run, execute
from storage.limits import Limits
from storage.records import Repo, RepoKind, RepoName, Scope

KEY = JobKey("count", "one")
KINDS = ("count",)


@pytest.fixture
def repo(services: Any) -> Repo:
    user = services.users.create("ann", "ann@example.org", "correct horse battery")
    made: Repo = services.repos.create(
        user.principal(Scope.WRITE, from_session=False), RepoName(RepoKind.MODEL, "ann", "one"), is_private=False
    )
    return made


@pytest.fixture
def jobs(services: Any) -> Jobs:
    return Jobs(services.database, Limits(job_tries=3))


def ask(services: Any, repo: Repo, key: JobKey = KEY, every: int = 0) -> None:
    services.database.write(lambda tx: queue.ask(tx, key, repo.id, every))


def expire(services: Any) -> None:
    """As time does."""
    services.database.write(lambda tx: tx.run("UPDATE jobs SET due_at = due_at - 100000000000"))


def state(jobs: Jobs) -> JobState | None:
    status = jobs.status(KEY)
    return status.state if status else None


def test_one_of_many_gets_it(services: Any, repo: Repo, jobs: Jobs) -> None:
    ask(services, repo)
    with ThreadPoolExecutor(8) as pool:
        leases = [lease for lease in pool.map(lambda _: jobs.take(KINDS), range(8)) if lease]

    assert [lease.key for lease in leases] == [KEY]
    assert state(jobs) is JobState.RUNNING


def test_jobs_of_other_kinds_are_left_alone(services: Any, repo: Repo, jobs: Jobs) -> None:
    ask(services, repo)

    assert jobs.take(("other",)) is None
    assert state(jobs) is JobState.WAITING


def test_a_job_whose_lease_is_over_is_anothers(services: Any, repo: Repo, jobs: Jobs) -> None:
    ask(services, repo)
    first = jobs.take(KINDS)
    assert first is not None
    assert jobs.take(KINDS) is None
    expire(services)
    second = jobs.take(KINDS)

    assert second is not None
    assert second.tries == 2
    with pytest.raises(Fenced):
        jobs.finish(first)
    with pytest.raises(Fenced):
        jobs.progress(first, "still here")
    jobs.finish(second)
    assert state(jobs) is JobState.DONE


def test_a_renewed_lease_is_kept(services: Any, repo: Repo, jobs: Jobs) -> None:
    ask(services, repo)
    lease = jobs.take(KINDS)
    assert lease is not None
    expire(services)
    jobs.renew(lease)

    assert jobs.take(KINDS) is None


def test_tries_are_bounded_with_longer_and_longer_waits(services: Any, repo: Repo, jobs: Jobs) -> None:
    ask(services, repo)
    waits = []
    for _ in range(3):
        lease = jobs.take(KINDS)
        assert lease is not None
        jobs.fail(lease, "no answer", is_final=False)
        status = jobs.status(KEY)
        assert status is not None
        assert status.ended_at is not None
        waits.append((status.due_at - status.ended_at) // 1_000_000)
        expire(services)

    assert waits[1] == 2 * waits[0] > 0
    assert state(jobs) is JobState.FAILED
    assert jobs.take(KINDS) is None


def test_a_job_that_kills_its_worker_is_given_up(services: Any, repo: Repo, jobs: Jobs) -> None:
    ask(services, repo)
    for _ in range(3):
        assert jobs.take(KINDS) is not None
        expire(services)

    assert jobs.take(KINDS) is None
    status = jobs.status(KEY)
    assert status is not None
    assert status.state is JobState.FAILED
    assert "cut short" in status.message


def test_what_is_asked_for_while_it_runs_runs_again(services: Any, repo: Repo, jobs: Jobs) -> None:
    ask(services, repo)
    lease = jobs.take(KINDS)
    assert lease is not None
    ask(services, repo)
    services.database.write(lambda tx: queue.wake(tx, KEY))
    assert jobs.take(KINDS) is None
    jobs.finish(lease)
    again = jobs.take(KINDS)

    assert again is not None
    jobs.finish(again)
    assert jobs.take(KINDS) is None
    services.database.write(lambda tx: queue.wake(tx, KEY))
    assert jobs.take(KINDS) is not None


def test_a_schedule_goes_on_after_failures(services: Any, repo: Repo, jobs: Jobs) -> None:
    ask(services, repo, every=3600)
    for message in ("wrong password", ""):
        lease = jobs.take(KINDS)
        assert lease is not None
        if message:
            jobs.fail(lease, message, is_final=True)
        else:
            jobs.finish(lease)
        status = jobs.status(KEY)
        assert status is not None
        assert (status.state, status.message) == (JobState.WAITING, message)
        assert jobs.take(KINDS) is None
        expire(services)


def test_a_job_goes_with_its_repository(services: Any, repo: Repo, jobs: Jobs) -> None:
    ask(services, repo)
    lease = jobs.take(KINDS)
    assert lease is not None
    services.repos.delete(repo)

    assert jobs.status(KEY) is None
    with pytest.raises(Fenced):
        jobs.renew(lease)


def test_how_work_ends_is_written_down(services: Any, repo: Repo, jobs: Jobs) -> None:
    def run(error: Exception | None) -> str:
        def work(running: Run) -> None:
            running.progress("counting", 1, 2)
            if error is not None:
                raise error

        ask(services, repo)
        lease = jobs.take(KINDS)
        assert lease is not None
        return execute(jobs, Run(jobs, lease, threading.Event()), work, 20.0)

    assert run(None) == ""
    assert state(jobs) is JobState.DONE
    assert run(Invalid("No such thing.")) == "No such thing."
    assert state(jobs) is JobState.FAILED
    assert run(Unavailable("No answer.")) == "No answer."
    assert state(jobs) is JobState.WAITING
    with pytest.raises(Interrupted):
        run(Interrupted())
    status = jobs.status(KEY)
    assert status is not None
    assert (status.state, status.tries, status.progress, status.total) == (JobState.WAITING, 0, "counting", 2)


@pytest.fixture
def runner(jobs: Jobs) -> Iterator[tuple[JobRunner, threading.Event, threading.Event]]:
    """One that runs a job for as long as the hub does; events that it began and that it was told to stop."""
    begun, told = threading.Event(), threading.Event()

    def work(run: Run) -> None:
        begun.set()
        try:
            while True:
                run.check()
                begun.wait(0.01)
        except Interrupted:
            told.set()
            raise

    made = JobRunner(jobs, {"count": work}, 60, 1)
    yield made, begun, told
    made.stop(30)


def test_a_stopping_hub_gives_its_jobs_back(
    services: Any, repo: Repo, jobs: Jobs, runner: tuple[JobRunner, threading.Event, threading.Event]
) -> None:
    running, begun, told = runner
    ask(services, repo)
    running.start()
    assert begun.wait(30)
    running.stop(30)

    assert told.is_set()
    lease = jobs.take(KINDS)
    assert lease is not None
    assert lease.tries == 1
