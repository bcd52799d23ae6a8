"""The `kohakuhub` command line. docs/cli.md describes every verb; only this module reads it.

It imports little before it is called: each process of the process pool begins with this module, and needs nothing of what the verbs do.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from hub import VERSION
from storage.records import RepoKind, Scope

_DATA = "data directory (default ./hub-data)"
_PASSWORD = "the password is the first line of standard input, as it is where that is no terminal; a terminal is asked"


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit status: 0 done, 1 refused or findings, 2 wrong usage. Without arguments the help is shown."""
    options = make_parser().parse_args(arguments or ["--help"])
    if options.verb == "admin" and options.task is None:
        print(options.help_of_tasks())
        return 0
    from hub.command.verbs import carry_out

    return carry_out(options)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kohakuhub", description="A self-hosted, Git-first hub for models, datasets and spaces.")
    parser.add_argument("--version", action="version", version=f"kohakuhub {VERSION}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    serving = verbs.add_parser("serve", help="run the hub")
    serving.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serving.add_argument("--port", type=int, help="port to listen on, 0 for any free one (default 28080)")
    serving.add_argument("--workers", type=int, help="worker processes (default 1)")
    serving.add_argument("--log-format", choices=("text", "json"), dest="log_format", help="log lines for people or machines")
    serving.add_argument("--data", type=Path, help=_DATA)
    making = verbs.add_parser("secrets", help="make the file with every secret of a deployment")
    making.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, default=Path(".env"), help="where to (default .env); - for standard output"
    )
    making.add_argument("--check", action="store_true", help="see whether the secrets in FILE are good instead (- for standard input)")
    looking = verbs.add_parser("doctor", help="look at a deployment and name what is wrong with the fix")
    looking.add_argument("url", metavar="URL", nargs="?", default="", help="the hub's public address (default: KOHAKU_HUB_BASE_URL)")
    admin = verbs.add_parser("admin", help="the operator's tasks")
    admin.set_defaults(help_of_tasks=admin.format_help)
    _add_tasks(admin.add_subparsers(dest="task", metavar="TASK"))
    return parser


def _add_tasks(tasks: Any) -> None:
    user = tasks.add_parser("create-user", help="make an account")
    user.add_argument("user", metavar="NAME")
    user.add_argument("--email", required=True)
    user.add_argument("--password-stdin", action="store_true", help=_PASSWORD)
    user.add_argument("--admin", action="store_true", help="the account may do everything")
    token = tasks.add_parser("create-token", help="make an access token and print it")
    token.add_argument("user", metavar="USER")
    token.add_argument("--name", required=True, help="what the token is for")
    token.add_argument("--scope", choices=[scope.value for scope in Scope], default=Scope.WRITE.value)
    key = tasks.add_parser("add-ssh-key", help="let an account use git over SSH with a public key")
    key.add_argument("user", metavar="USER")
    key.add_argument("--key-stdin", action="store_true", help="the public key is the first line of standard input, as always")
    key.add_argument("--title", default="", help="what the key is called (default: its comment)")
    bucket = tasks.add_parser("create-bucket", help="make the bucket on S3 where it is missing")
    password = tasks.add_parser("set-password", help="give an account another password")
    password.add_argument("user", metavar="NAME")
    password.add_argument("--password-stdin", action="store_true", help=_PASSWORD)
    protect = tasks.add_parser("protect", help="no force push and no deletion of a branch")
    protect.add_argument("repository", metavar="NAMESPACE/NAME")
    protect.add_argument("branch", metavar="BRANCH", help="its name, or a pattern such as release/*")
    again = tasks.add_parser("rebuild", help="make lost rows again from LakeFS, packs and pool")
    pack = tasks.add_parser("repack", help="join the git packs of a repository")
    pack.add_argument("repository", metavar="NAMESPACE/NAME")
    pack.add_argument("--prune-now", action="store_true", help="remove objects that nothing leads to, whatever their age")
    check = tasks.add_parser("check", help="verify every repository and large object")
    for task in (user, token, key, bucket, password, protect, again, pack, _add_import(tasks), check):
        task.add_argument("--data", type=Path, help=_DATA)


def _add_import(tasks: Any) -> argparse.ArgumentParser:
    bring: argparse.ArgumentParser = tasks.add_parser("import", help="bring a repository from another git server")
    bring.add_argument("url", metavar="URL", help="https://host/path")
    bring.add_argument("name", metavar="NAME", help="namespace/name here")
    bring.add_argument("--type", choices=[kind.value for kind in RepoKind], default=RepoKind.MODEL.value)
    bring.add_argument("--private", action="store_true", help="a repository that is made for it is private")
    bring.add_argument("--every", type=int, default=0, metavar="SECONDS", help="follow the source: look again so often")
    bring.add_argument("--username", default="", metavar="USER", help="at the source; its password or token comes on standard input")
    return bring
