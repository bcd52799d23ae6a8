"""The LFS suite on the embedded default, on the cluster, and where clients talk to S3; in the long tier also on each part alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suites import aim_lfs, cases, load

h = load("lfs", "lfsharness")
suite = load("lfs", "test_lfs_conformance")
globals().update(cases(suite))
pytestmark = pytest.mark.filterwarnings("default")
_LONG = [pytest.param(name, marks=pytest.mark.long) for name in ("postgres_hub", "s3_hub")]


@pytest.fixture(
    scope="module", params=["embedded_hub", "cluster_hub", "direct_hub", "parts_hub", "pair_hub", "brief_hub", *_LONG], autouse=True
)
def aimed_hub(request: pytest.FixtureRequest) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        hub = request.getfixturevalue(request.param)
        aim_lfs(h, hub, patch)
        patch.setattr(h, "SHARED_NS", hub.user if request.param == "pair_hub" else "")
        patch.setattr(h, "_shared_ns", None)
        yield hub


# The fixtures of the suite and of its conftest, for one hub after the other.
@pytest.fixture(scope="module")
def pub(aimed_hub: Any) -> Any:
    return h.create_repo(private=False)


@pytest.fixture(scope="module")
def priv(aimed_hub: Any) -> Any:
    return h.create_repo(private=True)


@pytest.fixture(scope="module")
def bobs(aimed_hub: Any) -> Any:
    return h.create_repo(private=False, cred=h.BOB)


@pytest.fixture(scope="module")
def fifty(aimed_hub: Any) -> Any:
    return suite.fifty.__wrapped__()


@pytest.fixture
def fresh() -> Any:
    return h.create_repo(private=False)


@pytest.fixture(scope="module")
def shared(aimed_hub: Any) -> Any:
    """A repository that both users can push to."""
    return h.create_repo(private=False, ns=h.shared_namespace())


@pytest.fixture
def shared_fresh() -> Any:
    return h.create_repo(private=False, ns=h.shared_namespace())


@pytest.fixture(scope="module")
def stored(priv: Any) -> Any:
    """An object that lies only in alice's private repository."""
    made = h.blob(70_000)
    priv.put(made)
    return made


@pytest.fixture
def tmp(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def alice(tmp: Path) -> Any:
    return h.Git(tmp, h.ALICE, "alice")


@pytest.fixture
def bob(tmp: Path) -> Any:
    return h.Git(tmp, h.BOB, "bob")


@pytest.fixture
def anon(tmp: Path) -> Any:
    return h.Git(tmp, None, "anon")
