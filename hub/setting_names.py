"""Names of settings that the hub does not know: what was misspelt, and what the first KohakuHub had."""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

PREFIX = "KOHAKU_HUB_"
# docs/settings.md says of each why it is not used.
UNUSED = (
    "KOHAKU_HUB_INTERNAL_BASE_URL",
    "KOHAKU_HUB_API_BASE",
    "KOHAKU_HUB_SITE_NAME",
    "KOHAKU_HUB_DB_BACKEND",
    "KOHAKU_HUB_DATABASE_KEY",
    "KOHAKU_HUB_AUTO_MIGRATE",
    "KOHAKU_HUB_LFS_KEEP_VERSIONS",
    "KOHAKU_HUB_LFS_AUTO_GC",
    "KOHAKU_HUB_S3_SIGNATURE_VERSION",
    "KOHAKU_HUB_LAKEFS_REPO_NAMESPACE",
    "KOHAKU_HUB_TOKEN_EXPIRE_DAYS",
    "KOHAKU_HUB_REQUIRE_EMAIL_VERIFICATION",
    "KOHAKU_HUB_SMTP_*",
    "KOHAKU_HUB_ADMIN_ENABLED",
    "KOHAKU_HUB_ADMIN_SECRET_TOKEN",
    "KOHAKU_HUB_DEFAULT_*_QUOTA_BYTES",
    "KOHAKU_HUB_FALLBACK_*",
    "KOHAKU_HUB_CACHE_*",
    "KOHAKU_HUB_DISABLE_DATASET_VIEWER",
    "KOHAKU_HUB_DEBUG_LOG_PAYLOADS",
    "KOHAKU_HUB_LOG_DIR",
    "KOHAKU_HUB_DEV_AUTO_SEED",
)
_UNUSED = re.compile("|".join(re.escape(name).replace(r"\*", "[A-Z0-9_]+") for name in UNUSED))


def unknown_settings(variables: Iterable[str], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each variable with the hub's prefix that is none of `known` (fields of Settings), and what to do about it."""
    names = {PREFIX + field.upper() for field in known}
    for variable in sorted(variables):
        name = variable.upper()
        if not name.startswith(PREFIX) or name in names:
            continue
        if _UNUSED.fullmatch(name):
            yield variable, "it is a setting of the first KohakuHub that this one does not use; docs/settings.md says why. Remove it"
        else:
            yield variable, f"there is no such setting.{nearest(name, names)} docs/settings.md lists them all"


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence with the known name that `name` may have been meant to be; empty when there is none."""
    found = get_close_matches(name, known, 1, 0.75)
    return f" Did you mean {found[0]}?" if found else ""
