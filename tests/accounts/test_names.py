"""H16: names that are addresses of the hub or of its web UI."""

from typing import Any

import pytest

from accounts.identity.names import RESERVED
from hub.app import endpoints
from storage.errors import BadName
from storage.records import RepoKind, RepoName, Scope

# contracts: the first segments of the UI's pages, and what the first KohakuHub keeps.
PAGES = """
setup device join register login logout invite reset-password verify-email models datasets spaces search new new-dataset
new-space import settings organizations admin docs assets collections healthz readyz metrics cas oauth api org auth swagger health
version resolve tree blob commit commits branch branches tag tags upload edit fallback-sources cache stats quota
"""


def test_h16_every_address_of_the_hub_is_reserved(services: Any) -> None:
    """A new route whose first word is missing here: add the word to accounts/identity/names.py."""
    paths = [row.path.strip("/").split("/") for row in endpoints(services)]
    words = {word for path in paths for word in path[: 2 if path[0] == "api" else 1] if word and "{" not in word}

    assert sorted((words | set(PAGES.split())) - RESERVED) == []


@pytest.mark.parametrize("name", ["index.html", "whoami-v2", "Setup", "healthz"])
def test_h16_no_account_has_such_a_name(services: Any, name: str) -> None:
    with pytest.raises(BadName, match="used by the hub itself"):
        services.users.create(name, "x@example.org", "long enough")


def test_h16_no_model_hides_a_page_of_its_owner(services: Any) -> None:
    ann = services.users.create("ann", "ann@example.org", "long enough").principal(Scope.WRITE, from_session=False)
    repo = services.repos.create(ann, RepoName(RepoKind.DATASET, "ann", "likes"), is_private=False)
    model = services.repos.create(ann, RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)

    assert repo.name.name == "likes"
    with pytest.raises(BadName):
        services.repos.create(ann, RepoName(RepoKind.MODEL, "ann", "Models"), is_private=False)
    with pytest.raises(BadName):
        services.repos.move(ann, model, RepoName(RepoKind.MODEL, "ann", "datasets"))
