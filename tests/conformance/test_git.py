"""The git suite on the embedded default and on the cluster as it is deployed; in the long tier also on PostgreSQL alone."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.suites import aim_git, cases, load

suite = load("git", "test_git_conformance")
globals().update(cases(suite))
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module", params=["embedded_hub", "cluster_hub", pytest.param("postgres_hub", marks=pytest.mark.long)], autouse=True)
def aimed_hub(request: pytest.FixtureRequest) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        hub = request.getfixturevalue(request.param)
        aim_git(suite, hub, patch)
        yield hub
