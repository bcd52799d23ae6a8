"""What the verbs of the command line do."""

import argparse
import logging
import sys
from pathlib import Path

from pydantic import ValidationError

from hub import log
from hub.command import admin
from hub.deployment import environment
from hub.deployment.doctor import doctor
from hub.services import Services, build, is_hub
from hub.settings import Settings, problems
from storage.errors import HubError, Invalid
from storage.records import Scope

_BEGINNING = frozenset({"create-user", "create-bucket", "import", "rebuild"})  # what a deployment does before the first `serve`


def carry_out(options: argparse.Namespace) -> int:
    """The exit status: 0 done, 1 refused or findings, 2 wrong usage."""
    if options.verb == "secrets":
        return _make_secrets(options)
    if options.verb == "doctor":
        return doctor(options.url)
    given = {name: getattr(options, name, None) for name in ("host", "port", "data", "workers", "log_format")}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for line in problems(error):
            print(f"kohakuhub: {line}", file=sys.stderr)
        return 2
    try:
        return _run(options, settings)
    except HubError as error:
        print(f"kohakuhub: {error.message}", file=sys.stderr)
    except OSError as error:
        print(f"kohakuhub: {error}", file=sys.stderr)
    except (KeyboardInterrupt, EOFError):
        print("kohakuhub: given up.", file=sys.stderr)
    return 1


def _run(options: argparse.Namespace, settings: Settings) -> int:
    log.set_up(settings.log_format, settings.log_level)
    if options.verb == "serve":
        from hub.serving.serve import serve  # aiohttp, which no other verb needs

        serve(settings)
        return 0
    logging.getLogger().setLevel(logging.WARNING)
    _refuse_elsewhere(options, settings)
    services = build(settings)
    try:
        return _administer(options, services)
    finally:
        services.close()


def _refuse_elsewhere(options: argparse.Namespace, settings: Settings) -> None:
    """A verb in the wrong folder would make another hub, empty and with a key of its own. Raises Invalid."""
    if is_hub(settings):
        return
    is_named = "data" in settings.model_fields_set  # by --data or KOHAKU_HUB_DATA
    if is_named and (options.task in _BEGINNING or settings.database_url.get_secret_value()):
        return
    place = settings.data.absolute()
    if is_named:
        raise Invalid(f"There is no hub in {place}. Start it there first, with: kohakuhub serve --data {settings.data}")
    raise Invalid(f"There is no hub in {place}. Go where it was started, or name its data directory with --data or KOHAKU_HUB_DATA.")


def _make_secrets(options: argparse.Namespace) -> int:
    """Needs no settings: it makes them."""
    try:
        if options.check:
            wrong = environment.check(sys.stdin.read() if options.file == Path("-") else options.file.read_text("utf-8"))
            for line in wrong:
                print(f"kohakuhub: {line}", file=sys.stderr)
            return 1 if wrong else 0
        if options.file == Path("-"):
            print(environment.make(), end="")
        else:
            environment.write(options.file)
            print(f"{options.file} holds every secret now. Keep a copy of it where this machine's disk is not.")
    except (HubError, OSError) as error:
        print(f"kohakuhub: {error}", file=sys.stderr)
        return 1
    return 0


def _administer(options: argparse.Namespace, services: Services) -> int:
    if options.task == "create-user":
        admin.create_user(services, options.user, options.email, is_admin=options.admin)
    elif options.task == "create-token":
        admin.create_token(services, options.user, options.name, Scope(options.scope))
    elif options.task == "add-ssh-key":
        admin.add_ssh_key(services, options.user, options.title)
    elif options.task == "create-bucket":
        admin.create_bucket(services)
    elif options.task == "set-password":
        admin.set_password(services, options.user)
    elif options.task == "protect":
        admin.protect(services, options.repository, options.branch)
    elif options.task == "import":
        given = {"username": options.username, "is_private": options.private, "every": options.every}
        admin.import_repository(services, options.url, options.name, options.type, **given)
    elif options.task == "rebuild":
        admin.rebuild(services)
    elif options.task == "repack":
        admin.repack(services, options.repository, prunes=options.prune_now)
    else:
        return 1 if admin.check(services) else 0
    return 0
