"""Who is to have the same refs as a repository: the jobs of its push mirrors."""

from storage.database.base import Tx
from storage.jobs.base import JobKey
from storage.jobs.queue import wake

PUSH = "push"


def wake_followers(tx: Tx, repo_id: str) -> None:
    """In the transaction that moves refs. Most repositories have none: rows of jobs, which change every second, are not looked at then."""
    for row in tx.all("SELECT id FROM mirrors WHERE repo_id = :repo AND direction = 'push'", {"repo": repo_id}):
        wake(tx, JobKey(PUSH, row["id"]))
