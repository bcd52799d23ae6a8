"""What a repository holds from the start for Hugging Face clients: one commit with `.gitattributes`, and what a space needs to be one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the first commit holds besides what every repository gets: the `sdk` of a space, a licence for the card, and
    files by path.
    """

    sdk: str = DEFAULT_SDK
    license: str = ""
    files: Mapping[bytes, bytes] = field(default_factory=dict)


def initial_files(repo: Repo, beginning: Beginning) -> Mapping[bytes, bytes]:
    """Path to content, without the files of `beginning`."""
    sdk = beginning.sdk
    files = {b".gitattributes": default_attributes(is_dataset=repo.name.kind is RepoKind.DATASET)}
    card = [f"license: {beginning.license}"] if beginning.license else []
    if repo.name.kind is RepoKind.SPACE:
        card += [f"title: {repo.name.name}", f"sdk: {sdk}"]
        card += [f"app_file: {_APP_FILES[sdk]}"] if sdk in _APP_FILES else []
        card.append("pinned: false")
        title = repo.name.name.encode()
        if sdk == "static":
            files |= {b"index.html": _STATIC_PAGE % (title, title), b"style.css": _STYLE}
    if card:
        files[b"README.md"] = "\n".join(("---", *card, "---", "")).encode()
    return files
