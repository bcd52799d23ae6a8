"""The operator's verbs. They work on the data directory, whether the server runs or not."""

import sys
from collections.abc import Iterator
from getpass import getpass

from gitserver.bridge.rebuild import Rebuild
from gitserver.maintenance.check import check_repository
from gitserver.mirror.imports import ImportRequest
from gitserver.update.branch_rules import BranchRule
from hub.jobs import BackgroundJobs
from hub.services import Services
from lfs.objects.check import check_pool
from storage.errors import Invalid, NotFound, Unavailable
from storage.records import RepoKind, RepoName, Scope


def create_user(services: Services, name: str, email: str, *, is_admin: bool) -> None:
    user = services.users.create(name, email, _password(), is_admin=is_admin)
    print(f"{user.name} may sign in now.")


def create_token(services: Services, user_name: str, name: str, scope: Scope) -> None:
    """Prints the token, alone on its line."""
    user = services.users.by_name(user_name)
    if user is None:
        raise NotFound(f"There is no user {user_name}. Make one with: kohakuhub admin create-user {user_name} --email …")
    print(services.tokens.create(user.id, name, scope).text)


def add_ssh_key(services: Services, user_name: str, title: str) -> None:
    """The key is the first line of standard input, as it stands in the `.pub` file."""
    user = services.users.by_name(user_name)
    if user is None:
        raise NotFound(f"There is no user {user_name}. Make one with: kohakuhub admin create-user {user_name} --email …")
    if sys.stdin.isatty():
        print("Paste the public key, one line:", file=sys.stderr)
    key = services.keys.add(user.id, sys.stdin.readline(20_000), title)
    print(f"{user.name} has the key {key.fingerprint} ({key.title}) now.")


def create_bucket(services: Services) -> None:
    """Harmless where it is there already."""
    remote = services.stores.remote
    if remote is None:
        raise Invalid("There is no S3 here. Set KOHAKU_HUB_S3_ENDPOINT first.")
    remote.bucket.create()
    print(f"Bucket {services.settings.s3_bucket} is there.")


def set_password(services: Services, name: str) -> None:
    services.users.set_password(name, _password())
    print(f"{name} has a new password.")


def protect(services: Services, name: str, pattern: str) -> None:
    """Of the models, unless the name begins with `datasets/` or `spaces/`: no force push and no deletion of such branches."""
    repo = services.repos.find(_repo_name(name))
    if repo is None:
        raise NotFound(f"There is no repository {name}.")
    others = [rule for rule in services.rules.of(repo.id) if rule.pattern != pattern]
    services.rules.set(repo.id, [*others, BranchRule(pattern, forbids_force=True, forbids_deletion=True, forbids_merges=False)])
    print(f"{pattern} of {repo.name.path} is protected.")


def import_repository(services: Services, url: str, name: str, kind: str, *, username: str, is_private: bool, every: int) -> None:
    """With `username`, its password is asked for. Prints progress, and at the end where the repository is."""
    namespace, _, short = name.partition("/")
    password = _password(is_new=False) if username else ""
    request = ImportRequest(url, _parsed(RepoKind(kind), name, namespace, short), username, password, is_private, every)
    BackgroundJobs(services).foreground_import().run(request, allow_private=services.settings.import_private)
    print(f"{request.name.path} is here.")


def repack(services: Services, name: str, *, prunes: bool) -> None:
    """`prunes`: objects that nothing leads to go now, whatever their age. Prints what became of them."""
    repo = services.repos.find(_repo_name(name))
    if repo is None:
        raise NotFound(f"There is no repository {name}.")
    if not services.packs.list(repo.id):
        print(f"{name} has no objects, so there is nothing to do.")
        return
    done = services.background_repack.repacker.repack(repo.id, 0 if prunes else None)
    if done is None:
        raise Unavailable(f"The packs of {name} are being merged by the running hub. Try again in a moment.")
    services.packing.paths.rebuild(services.objects.of(repo.id))
    print(f"{done.reached} objects, {done.set_aside} set aside because nothing leads to them, {done.dropped} dropped.")


def rebuild(services: Services) -> None:
    """Print one line a repository."""
    parts = (services.packs, services.objects, services.possession, services.blobs, services.versions)
    for line in Rebuild(services.users, services.repos, *parts).run():
        print(line)
    print("Accounts have no passwords and no tokens: kohakuhub admin set-password, create-token.", file=sys.stderr)


def check(services: Services) -> int:
    """Print one line a finding; how many there were."""
    count = 0
    for finding in _findings(services):
        print(finding)
        count += 1
    print(f"{count} findings." if count else "Everything is in order.", file=sys.stderr)
    return count


def _repo_name(text: str) -> RepoName:
    kind, _, rest = text.partition("/")
    kinds = {known.plural: known for known in RepoKind}
    namespace, _, name = (rest if kind in kinds else text).partition("/")
    return _parsed(kinds.get(kind, RepoKind.MODEL), text, namespace, name)


def _parsed(kind: RepoKind, text: str, namespace: str, name: str) -> RepoName:
    if not namespace or not name:
        raise Invalid(f"{text!r} does not name a repository. Give NAMESPACE/NAME, for example alice/{name or namespace or 'bert'}.")
    return RepoName.parse(kind, namespace, name)


def _password(*, is_new: bool = True) -> str:
    """From a person at a terminal, asked twice for a new one; else the first line of standard input."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\n")
        if not password:
            raise Invalid("No password came on standard input. Pipe it in: printf '%s\\n' \"$PASSWORD\" | kohakuhub admin …")
        return password
    password = getpass("Password: ")
    if not password:
        raise Invalid("No password was given. Run the command again.")
    if is_new and getpass("The same again: ") != password:
        raise Invalid("The two passwords are not the same. Run the command again.")
    return password


def _findings(services: Services) -> Iterator[str]:
    for repo in services.repos.all():
        for finding in check_repository(repo, services.objects, services.versions, services.possession):
            yield f"{repo.name.path}: {finding}"
    yield from check_pool(services.database, services.blobs)
    yield from services.xet.check()
