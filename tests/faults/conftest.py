"""A bucket and a hub behind a proxy that does to S3 what networks and servers do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.blobs.bucket import Bucket
from tests.harness.hubs import Launcher
from tests.servers.buckets import BucketPool
from tests.servers.faults import FaultProxy, fault_proxy


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """Hubs that are killed are started as an operator starts them."""
    made = Launcher(tmp_path / "data", is_real=True)
    yield made
    made.close()


@pytest.fixture
def proxy(s3_server: Any) -> Iterator[FaultProxy]:
    with fault_proxy(s3_server.endpoint) as made:
        yield made


@pytest.fixture
def bucket(s3_server: Any, buckets: BucketPool, proxy: FaultProxy) -> Iterator[Bucket]:
    lent = buckets.lend(s3_server)
    made = Bucket(s3_server.config(lent.config.bucket, proxy.url, read_seconds=1))
    yield made
    made.close()
    buckets.give_back(lent)


@pytest.fixture
def faulty_launcher(launcher: Any, new_launcher: Any, s3_server: Any, proxy: FaultProxy, bucket: Bucket) -> Any:
    environment = s3_server.environment(bucket.config.bucket, ENDPOINT=proxy.url) | {"KOHAKU_HUB_LIMITS": '{"s3_read_seconds": 1}'}
    made = new_launcher(launcher.data, environment)
    made.users()
    return made


@pytest.fixture
def faulty_hub(faulty_launcher: Any, proxy: FaultProxy) -> Iterator[Any]:
    running = faulty_launcher.start()
    yield running
    proxy.set("pass")
    assert running.stop() == 0
