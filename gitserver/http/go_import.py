"""Where `go get` learns that a path is a git repository (Go modules reference, "Finding a repository for a module path")."""

from html import escape

from accounts.identity.names import RESERVED
from storage.errors import BadName
from storage.records import RepoKind, RepoName

_KINDS = {kind.plural: kind for kind in RepoKind}
_PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><meta name="go-import" content="{root} git {url}"></head>
<body>go get {root}</body></html>
"""


def go_import_page(path: str, origin: str) -> str | None:
    """The page for a repository or a folder of one, None for other paths. Nothing is looked up: private and missing look the same."""
    kind, _, rest = path.strip("/").partition("/")
    first = rest if kind in _KINDS else path.strip("/")
    namespace, _, below = first.partition("/")
    try:
        name = RepoName.parse(_KINDS.get(kind, RepoKind.MODEL), namespace, below.partition("/")[0])
    except BadName:
        return None
    if namespace.lower() in RESERVED:
        return None
    root = f"{origin.partition('://')[2]}/{name.path}"
    return _PAGE.format(root=escape(root), url=escape(f"{origin}/{name.path}.git"))
