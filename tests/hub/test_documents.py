"""O11: what docs/ says of the command and the settings is what the program does."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from hub.command.line import make_parser
from hub.deployment.from_settings import LAKEFS_VERSIONS, lakefs_version
from hub.setting_names import UNUSED
from hub.settings import Settings

ROOT = Path(__file__).parent.parent.parent
CLI, SETTINGS = ((ROOT / "docs" / name).read_text("utf-8") for name in ("cli.md", "settings.md"))


def verbs(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The verbs that do something, by their whole names."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for verb, below in action.choices.items():
            yield from verbs(below, f"{name} {verb}")
    if not inner:
        yield name, parser


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings if option.startswith("--")}


def test_o11_every_verb_stands_in_a_heading_with_its_options() -> None:
    headings = dict(re.findall(r"^## `(kohakuhub[a-z -]*[a-z])(.*)`$", CLI, re.MULTILINE))
    made = {name: options(parser) - {"--help", "--data"} for name, parser in verbs(make_parser(), "kohakuhub")}

    assert {name: set(re.findall(r"--[a-z-]+", rest)) for name, rest in headings.items()} == made


def test_o11_the_verbs_that_take_data_are_those_that_the_document_names() -> None:
    taking = {name for name, parser in verbs(make_parser(), "kohakuhub") if "--data" in options(parser)}

    assert "`serve` and every `admin` verb take it" in CLI
    assert taking == {name for name, _ in verbs(make_parser(), "kohakuhub") if name == "kohakuhub serve" or " admin " in name}


def test_o11_defaults_stand_in_the_document() -> None:
    shown = dict(re.findall(r"^\| `KOHAKU_HUB_(\w+)` \| (?:`([^`]*)`)? ?\|", SETTINGS, re.MULTILINE))
    simple = {name: field.default for name, field in Settings.model_fields.items() if isinstance(field.default, str | int | Path)}
    simple.pop("workshop_processes")  # it depends on the machine
    expected = {name.upper(): str(default).lower() if isinstance(default, bool) else str(default) for name, default in simple.items()}

    assert {name: shown.get(name) for name in expected} == expected


def test_o11_versions_of_lakefs_are_the_same_everywhere() -> None:
    first, last = re.findall(r"\d+\.\d+", LAKEFS_VERSIONS)
    after = f"{last.partition('.')[0]}.{int(last.partition('.')[2]) + 1}"
    troubles = [lakefs_version(b'{"version_config": {"version": "%s.0"}}' % version.encode()).trouble for version in (first, last, after)]

    assert f"LakeFS {LAKEFS_VERSIONS}" in SETTINGS
    assert f"lakefs-sdk>={first},<{after}" in (ROOT / "setup.cfg").read_text("utf-8")
    assert [bool(trouble) for trouble in troubles] == [False, False, True]


def test_o11_names_of_the_first_kohakuhub_are_those_of_the_table() -> None:
    table = SETTINGS.partition("## Names of the first KohakuHub that are not used")[2]

    assert set(re.findall(r"`(KOHAKU_HUB_[A-Z0-9_*]+)`", table)) - {"KOHAKU_HUB_DATABASE_URL"} == set(UNUSED)
