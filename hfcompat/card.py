"""The front matter of README.md: metadata that people write in YAML, read with limits and never trusted."""

from typing import Any

import yaml

from gitserver.browse import Browser, Snapshot
from storage.errors import EntryNotFound

_MOST_BYTES = 64 * 1024
_MOST_TAGS = 200
_LICENSE_NAMES = (
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0 "
    "artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc- "
    "by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc- "
    "by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 "
    "epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research "
    "intel-research apple-ascl apple-amlr lppl-1.3c ms-pl mpl-2.0 odc-by odbl openmdw-1.0 openrail++ osl-3.0 postgresql "
    "ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 "
    "llama3.2 llama3.3 llama4 grok2-community gemma unknown other"
)
_LICENSES = frozenset(_LICENSE_NAMES.split())


class CardError(ValueError):
    """The front matter is no YAML mapping, or uses what is not read here."""


def parse_card(content: str) -> dict[str, Any] | None:
    """The front matter, or None when there is none. Raises CardError."""
    lines = content[:_MOST_BYTES].replace("\r\n", "\n").lstrip("\ufeff")
    if not lines.startswith("---\n"):
        return None
    end = lines.find("\n---", 3)
    if end < 0:
        return None
    try:
        block = lines[4 : end + 1]
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(block, Loader=yaml.CSafeLoader)):
            raise CardError("aliases are not read in front matter")
        data = yaml.load(block, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CardError(f"bad YAML: {str(error)[:300]}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise CardError("the front matter is not a mapping of names to values")
    return {str(key): value for key, value in data.items()}


def read_card(browser: Browser, snapshot: Snapshot) -> dict[str, Any]:
    """The card of a repository; empty when there is none that can be read."""
    try:
        entry = browser.entry(snapshot, b"README.md")
        if entry.lfs is not None or entry.mode & 0o170000 != 0o100000:
            return {}
        data = next(snapshot.objects.stream(entry.oid, _MOST_BYTES), b"")
        return parse_card(data.decode("utf-8", "replace")) or {}
    except (EntryNotFound, CardError):
        return {}


def tags_of(card: dict[str, Any]) -> list[str]:
    """The card's own tags, with licence and languages as huggingface.co spells them."""
    tags = [str(tag) for tag in _listed(card.get("tags"))]
    tags += [str(tag) for tag in _listed(card.get("language"))]
    tags += [f"license:{tag}" for tag in _listed(card.get("license"))]
    return list(dict.fromkeys(tags))[:_MOST_TAGS]


def problems(content: str) -> tuple[list[str], list[str]]:
    """(errors, warnings) of a README's front matter."""
    try:
        card = parse_card(content)
    except CardError as error:
        return [str(error)], []
    if card is None:
        return [], ["empty or missing yaml metadata in repo card"]
    errors = []
    if "model-index" in card and not isinstance(card["model-index"], list):
        errors.append('"model-index" must be an array')
    unknown = [str(name) for name in _listed(card.get("license")) if str(name) not in _LICENSES]
    if unknown:
        errors.append(f'"license" must be one of {", ".join(sorted(_LICENSES))}')
    return errors, []


def _listed(value: object) -> list[object]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
