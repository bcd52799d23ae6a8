"""The servers, fork servers and set-up scripts of a run: how each is started. `tests/harness/run.py` starts them once for all workers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg.sql import SQL

from tests.harness.forked import Forks, ForkServer
from tests.harness.run import Run, Start
from tests.servers import s3, versitygw
from tests.servers.lakefs import LakeFS, LakeFSServer
from tests.servers.postgres import Postgres, PostgresServer
from tests.servers.s3 import S3Server, SeaweedFS

ROOT = Path(__file__).parent.parent.parent
CLIENTS = ROOT / ".venv" / "clients"
SCRIPTS = {
    **{f"set-up {name}": ("tests/clients/install.sh", name) for name in ("newest", "1.29", "0.36", "pygit2")},
    **{f"set-up {name}": (f"tests/clients/{name}.sh",) for name in ("node", "gogit")},
    **{f"set-up {name}": (f"tests/servers/{name}.sh",) for name in ("nginx", "versitygw", "lakefs")},
}
# What the clients' scripts import that does not read the environment, as the clients' own packages do.
_CLIENT_MODULES = {
    "newest": ("httpx2", "yaml", "tqdm.auto", "fsspec", "filelock", "click", "pandas", "pyarrow.parquet", "jinja2", "dill", "multiprocess"),
    "1.29": ("httpx", "yaml", "tqdm.auto", "fsspec", "filelock", "packaging.version"),
    "0.36": ("requests", "yaml", "tqdm.auto", "fsspec", "filelock", "packaging.version"),
}
_HUB_MODULES = ("blockbuster", "hub.command.verbs", "hub.serving.gunicorn", "gunicorn.app.wsgiapp", "boto3", "psycopg", "lakefs_sdk")
# All that they lose by it is what a power failure takes, and there is none here; servers that are killed are others.
_QUICK = ("max_connections = 500", "fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off")


def _script(command: tuple[str, ...]) -> Start:
    def run(run: Run) -> str:
        """What it said. What it could not get is asked for by `missing` of each server."""
        environment = {**os.environ, "PYTHON": os.environ.get("PYTHON", "python3")}
        said = subprocess.PIPE
        with subprocess.Popen(
            ["sh", *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            run.halting.callback(_halt, process)
            return process.communicate()[0].decode("utf-8", "replace")

    return run


def _halt(process: "subprocess.Popen[bytes]") -> None:
    """The script and what it started: its process group."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def _postgres(run: Run) -> Postgres:
    server = PostgresServer(*_QUICK)
    run.closing.callback(server.remove)
    server.start()
    _make_sign_in_quick(server)
    return Postgres(server.port, server.password)


def _make_sign_in_quick(server: PostgresServer) -> None:
    """Each connection costs client and server 4,096 rounds of a hash otherwise."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("SET scram_iterations = 1")
        connection.execute(SQL("ALTER ROLE hub PASSWORD {}").format(server.password))


def _s3(run: Run) -> S3Server:
    server = SeaweedFS(s3.find_program() or "", run.folder / "s3", s3.free_ports(SeaweedFS.PORTS))
    run.closing.callback(server.kill)
    return server.start()


def _versitygw(run: Run) -> S3Server:
    server, kill = versitygw.start(run.folder / "versitygw")
    run.closing.callback(kill)
    return server


def _lakefs(run: Run) -> LakeFS:
    server = LakeFSServer.cluster(run.folder / "lakefs", run.get("postgres").create(), run.get("s3"))
    run.closing.callback(server.stop)
    server.start()
    assert server.set_up() == 200
    return LakeFS(server.url, server.access_key, server.secret_key)


def _forks(name: str, python: Path, modules: tuple[str, ...], needed: tuple[str, ...] = ()) -> Callable[[Run], Forks]:
    def start(run: Run) -> Forks:
        for need in needed:
            run.get(need)
        server = ForkServer(python, run.folder / f"{name}.socket", modules)
        run.closing.callback(server.close)
        server.wait_until_ready()
        return server.forks

    return start


STARTS: dict[str, Start] = {
    **{name: _script(command) for name, command in SCRIPTS.items()},
    "postgres": _postgres,
    "s3": _s3,
    "versitygw": _versitygw,
    "lakefs": _lakefs,
    "hub": _forks("hub", Path(sys.executable), _HUB_MODULES),
    **{name: _forks(name, CLIENTS / name / "bin" / "python", modules, (f"set-up {name}",)) for name, modules in _CLIENT_MODULES.items()},
}
