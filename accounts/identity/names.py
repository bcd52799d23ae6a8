"""Names that nobody may have, since they are addresses of the hub or of its web UI."""

from storage.errors import BadName
from storage.records import RepoKind, RepoName, checked_name

# First segments of paths, and second ones below /api; `tests/accounts/test_names.py` holds this against the route table.
_ROUTES = """
agent-harnesses api auth cas datasets git healthz lfs models probe readyz repos spaces telemetry user validate-yaml version whoami-v2
"""
# The pages of the web UI, with what it loads.
_PAGES = """
admin assets collections device docs import index.html invite join login logout new new-dataset new-space organizations register
reset-password search settings setup verify-email
"""
# What browsers, crawlers and monitors ask for by themselves.
_FILES = "favicon.ico health metrics openapi.json robots.txt security.txt sitemap.xml swagger"
# What other hubs keep for themselves, in part since users would take an account of that name for the hub's own.
_KEPT = """
blob blobs branch branches buckets cache commit commits dataset edit fallback-sources help inference jobs kernels model notifications
oauth org orgs papers pricing quicksearch quota raw resolve site-config space static stats support tag tags tasks token tokens tree
upload uploads users v1 v2 web webhooks
"""
RESERVED = frozenset(f"{_ROUTES} {_PAGES} {_FILES} {_KEPT}".split())
_PROFILE_PAGES = frozenset({"models", "datasets", "spaces", "likes"})  # /{user}/models …


def check_account_name(name: str) -> None:
    """Raises BadName for what no user and no organization may be called."""
    if checked_name(name, "user name").lower() in RESERVED:
        raise BadName(f"The name {name!r} is used by the hub itself. Choose another.")


def check_new_repository(name: RepoName) -> None:
    """Raises BadName where the repository would hide a page of its owner."""
    if name.kind is RepoKind.MODEL and name.name.lower() in _PROFILE_PAGES:
        raise BadName(f"{name.full} is a page of {name.namespace} on the hub. Choose another repository name.")
