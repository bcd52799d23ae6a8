"""What an update costs on LakeFS, through the hub and by LakeFS's bare calls, in turn on the same servers.

    .venv/bin/python bench/lakefs.py [--rounds 40] [--paths 1000]

Starts PostgreSQL, SeaweedFS, LakeFS and a hub on loopback. Prints median milliseconds and their ratios.
"""

import argparse
import hashlib
import io
import json
import os
import re
import statistics
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parent.parent))

from storage.blobs.bucket import Bucket  # noqa: E402
from storage.versions.lakefs.client import LakeFS, LakeFSConfig  # noqa: E402
from storage.versions.lakefs.records import Link  # noqa: E402
from tests.conftest import COMMAND, Launcher  # noqa: E402
from tests.lakefs.lake import Lake, Work  # noqa: E402
from tests.servers.lakefs import LakeFSServer  # noqa: E402
from tests.servers.postgres import PostgresServer  # noqa: E402
from tests.servers.s3 import S3Server, s3_server  # noqa: E402


class Bare:
    """LakeFS's calls alone, as the hub makes them."""

    def __init__(self, server: LakeFSServer, bucket: str, s3_bucket: Bucket) -> None:
        self.lakefs = LakeFS(LakeFSConfig(server.url, server.access_key, server.secret_key, 32, 3, 30, 600))
        self.place = f"s3://{bucket}"
        self.name = "bare-" + uuid.uuid4().hex[:8]
        self.lakefs.create_repository(self.name, f"{self.place}/lakefs/{self.name}", "main")
        self.bucket = s3_bucket
        self.threads = ThreadPoolExecutor(16)

    def update(self, paths: list[str]) -> None:
        head = self.lakefs.branch(self.name, "main")
        assert head
        scratch = "_tx-" + uuid.uuid4().hex
        self.lakefs.create_branch(self.name, scratch, head, hidden=True)
        self.stage(scratch, paths, with_bytes=True)
        self.lakefs.commit(self.name, scratch, "tx", {"hub.tx": "1"})
        made = self.lakefs.merge(self.name, scratch, "main", "message", {"hub.op": "1"})
        self.lakefs.get_commit(self.name, made)
        self.lakefs.delete_branch(self.name, scratch)

    def stage(self, branch: str, paths: list[str], *, with_bytes: bool) -> None:
        list(self.threads.map(lambda path: self._link(branch, path, with_bytes), paths))

    def _link(self, branch: str, path: str, with_bytes: bool) -> None:
        data = os.urandom(200)
        sha256 = hashlib.sha256(data).hexdigest()
        if with_bytes:
            self.bucket.put(f"pool/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}", io.BytesIO(data), len(data))
        metadata = {"git-mode": "100644", "git-oid": sha256[:40], "git-kind": "blob"}
        self.lakefs.link(
            self.name, branch, Link(path, f"{self.place}/pool/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}", sha256, 200, metadata)
        )


def timed(work) -> float:  # noqa: ANN001
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def one_file(hub, bare: Bare, rounds: int) -> None:  # noqa: ANN001
    name = hub.repo()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {hub.token}"

    def commit(n: int) -> None:
        lines = [
            {"key": "header", "value": {"summary": "s"}},
            {"key": "file", "value": {"path": f"f{n}", "content": str(n), "encoding": "utf-8"}},
        ]
        body = "\n".join(map(json.dumps, lines))
        answer = session.post(f"{hub.url}/api/models/{name}/commit/main", body, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 200, answer.text

    bares, hubs = [], []
    for n in range(rounds + 5):
        bares.append(timed(lambda n=n: bare.update([f"f{n}"])))
        hubs.append(timed(lambda n=n: commit(n)))
    left, right = statistics.median(bares[5:]), statistics.median(hubs[5:])
    print(f"one-file HF commit: bare calls {left:.1f} ms, hub {right:.1f} ms, ratio {right / left:.2f}")


def many_paths(hub, bare: Bare, lake_server: LakeFSServer, count: int, folder: Path) -> None:  # noqa: ANN001
    name = hub.repo()
    work = Work(folder, hub.git_url(name))
    work.write({"a": b"1"})
    work.push()
    ratios, lefts, rights = [], [], []
    for turn in range(3):
        scratch = f"stage-{turn}"
        head = bare.lakefs.branch(bare.name, "main")
        assert head
        bare.lakefs.create_branch(bare.name, scratch, head)
        lefts.append(timed(lambda t=turn, s=scratch: bare.stage(s, [f"{t}/{n % 20}/{n}" for n in range(count)], with_bytes=True)))
        work.write({f"{turn}/{n % 20}/{n}": os.urandom(200) for n in range(count)})
        work.push()
        line = [line for line in hub.log.read_text().splitlines() if "git-receive-pack 200" in line][-1]
        rights.append(float(re.findall(r"([\d.]+) ms", line)[0]))
        ratios.append(rights[-1] / lefts[-1])
    assert len(Lake(lake_server, hub, name).files("main")) == 3 * count + 1
    print(
        f"push of {count} paths: bare staging (bytes to S3, links) {statistics.median(lefts):.0f} ms, hub {statistics.median(rights):.0f} ms,"
        f" ratios {' '.join(f'{ratio:.2f}' for ratio in ratios)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--paths", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        postgres = PostgresServer()
        postgres.start()
        running = start_s3(place)
        s3: S3Server = next(running)
        lakefs = LakeFSServer.cluster(place / "lakefs", postgres.create(), s3)
        lakefs.start()
        try:
            bucket = s3.make_bucket()
            environment = {
                "KOHAKU_HUB_DATABASE_URL": postgres.create(),
                **s3.environment(bucket),
                "KOHAKU_HUB_LAKEFS_ENDPOINT": lakefs.url,
                "KOHAKU_HUB_LAKEFS_ACCESS_KEY": lakefs.access_key,
                "KOHAKU_HUB_LAKEFS_SECRET_KEY": lakefs.secret_key,
            }
            launcher = Launcher(place / "data", environment)
            launcher.users()
            hub = launcher.start(command=(str(COMMAND),))
            bare = Bare(lakefs, bucket, Bucket(s3.config(bucket)))
            one_file(hub, bare, options.rounds)
            many_paths(hub, bare, lakefs, options.paths, place / "work")
            hub.stop()
        finally:
            lakefs.stop()
            running.close()
            postgres.remove()


def start_s3(place: Path):  # noqa: ANN201
    class Factory:
        def mktemp(self, name: str) -> Path:
            made = place / name
            made.mkdir()
            return made

    return s3_server.__wrapped__(Factory())


if __name__ == "__main__":
    main()
