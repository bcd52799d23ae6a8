"""What an import or a mirror takes from what the source shows."""

import pytest

from gitserver.mirror.plan import make_plan
from gitserver.mirror.source import Listing
from gitserver.update.namespaces import is_open
from storage.records import ZERO_OID, RefUpdate
from storage.versions.base import Ref, Refs

OLD, NEW = bytes([1]) * 20, bytes([2]) * 20


@pytest.mark.parametrize("name", [b"refs/heads/main", b"refs/tags/v1", b"refs/notes/x", b"refs/convert/parquet", b"refs/changes/1/1/1"])
def test_g3_a_mirror_has_the_refs_that_a_push_may_write(name: bytes) -> None:
    assert is_open(name)


@pytest.mark.parametrize("name", [b"HEAD", b"refs/pull/1/head", b"refs/pr/1", b"refs/for/main", b"refs/hub/x"])
def test_g3_a_mirror_leaves_out_hidden_refs_and_the_hubs_own(name: bytes) -> None:
    assert not is_open(name)


def test_g3_converts_follow_the_source_and_the_hubs_own_refs_stay() -> None:
    gone, own, moved = b"refs/convert/old", b"refs/pr/1", b"refs/convert/parquet"
    here = Refs(b"refs/heads/main", (Ref(gone, OLD), Ref(moved, OLD), Ref(own, OLD)))

    plan = make_plan(here, Listing(b"refs/heads/main", (Ref(moved, NEW),), 0))

    assert plan.updates == (RefUpdate(moved, OLD, NEW), RefUpdate(gone, OLD, ZERO_OID))
    assert plan.late == ()
