"""What a repository holds from the start for Hugging Face clients: one commit with `.gitattributes`, and what a space needs to be one."""

from collections.abc import Mapping

from gitserver.commit.attributes import default_attributes
from storage.records import Repo, RepoKind

MESSAGE = "initial commit"
_STATIC_PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<link rel="stylesheet" href="style.css">
<h1>%s</h1>
<p>This space is a static page. Change <code>index.html</code> to make it yours.</p>
</html>
"""
_STYLE = b"body { font-family: system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }\n"
_APP_FILES = {"gradio": "app.py", "streamlit": "app.py"}
DEFAULT_SDK = "static"
SDKS = ("gradio", "streamlit", "docker", "static")


def initial_files(repo: Repo, sdk: str) -> Mapping[bytes, bytes]:
    """Path to content; `sdk` matters for spaces only."""
    files = {b".gitattributes": default_attributes(is_dataset=repo.name.kind is RepoKind.DATASET)}
    if repo.name.kind is not RepoKind.SPACE:
        return files
    title = repo.name.name.encode()
    card = [f"title: {repo.name.name}", f"sdk: {sdk}"]
    if sdk in _APP_FILES:
        card.append(f"app_file: {_APP_FILES[sdk]}")
    files[b"README.md"] = "\n".join(("---", *card, "pinned: false", "---", "")).encode()
    if sdk == "static":
        files |= {b"index.html": _STATIC_PAGE % (title, title), b"style.css": _STYLE}
    return files
