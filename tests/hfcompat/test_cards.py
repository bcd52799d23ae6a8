"""The metadata of a README: which licences it may name, and YAML 1.2 with limits."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from hfcompat.reading.card import Cards, _head, problems
from hfcompat.reading.fields import EXPANDABLE
from hfcompat.reading.frontmatter import CardError, parse
from hfcompat.reading.licenses import LICENSES
from storage.limits import MIB, Limits
from storage.records import RepoKind

ROOT = Path(__file__).parent.parent.parent
LIMITS = Limits()
LIST = re.compile(r"\s*(?:[\w.*/+-]+\s+){8,}[\w.*/+-]+\s*")

# As the documentation of huggingface.co and the types of @huggingface/hub have them, one by one.
NAMES = """
apache-2.0
mit
openrail
bigscience-openrail-m
creativeml-openrail-m
bigscience-bloom-rail-1.0
bigcode-openrail-m
afl-3.0
artistic-2.0
bsl-1.0
bsd
bsd-2-clause
bsd-3-clause
bsd-3-clause-clear
c-uda
cc
cc0-1.0
cc-by-2.0
cc-by-2.5
cc-by-3.0
cc-by-4.0
cc-by-sa-3.0
cc-by-sa-4.0
cc-by-nc-2.0
cc-by-nc-3.0
cc-by-nc-4.0
cc-by-nd-4.0
cc-by-nc-nd-3.0
cc-by-nc-nd-4.0
cc-by-nc-sa-2.0
cc-by-nc-sa-3.0
cc-by-nc-sa-4.0
cdla-sharing-1.0
cdla-permissive-1.0
cdla-permissive-2.0
wtfpl
ecl-2.0
epl-1.0
epl-2.0
etalab-2.0
eupl-1.1
eupl-1.2
agpl-3.0
gfdl
gpl
gpl-2.0
gpl-3.0
lgpl
lgpl-2.1
lgpl-3.0
isc
h-research
intel-research
lppl-1.3c
ms-pl
apple-ascl
apple-amlr
mpl-2.0
odc-by
odbl
openmdw-1.0
openmdw-1.1
openrail++
osl-3.0
postgresql
ofl-1.1
ncsa
unlicense
zlib
pddl
lgpl-lr
deepfloyd-if-license
fair-noncommercial-research-license
llama2
llama3
llama3.1
llama3.2
llama3.3
llama4
grok2-community
gemma
unknown
other
"""
KNOWN = NAMES.split()
# What `additionalFields` of @huggingface/hub become.
JAVASCRIPT = {
    RepoKind.MODEL: """
        author cardData config createdAt disabled downloads downloadsAllTime gated gitalyUid inferenceProviderMapping
        lastModified library_name likes model-index pipeline_tag private safetensors sha siblings spaces tags
        transformersInfo
    """,
    RepoKind.DATASET: """
        author cardData citation createdAt disabled description downloads downloadsAllTime gated gitalyUid
        lastModified likes paperswithcode_id private sha tags
    """,
    RepoKind.SPACE: """
        author cardData datasets disabled gitalyUid lastModified createdAt likes private runtime sdk sha subdomain
        tags models
    """,
}


def card(block: str, limits: Limits = LIMITS) -> Any:
    return parse(f"---\n{block}\n---\n# Title\n", limits)


@pytest.mark.parametrize("name", KNOWN)
def test_w1_every_licence_is_known(name: str) -> None:
    assert problems(f"---\nlicense: {name}\n---\n", LIMITS) == ([], [])


def test_w1_no_licence_is_a_piece_of_a_name() -> None:
    assert set(KNOWN) == LICENSES


def test_w1_no_list_of_words_breaks_inside_one() -> None:
    """Of a word that a machine cut at the end of a line the first piece ends in a hyphen."""
    broken = []
    for package in ("accounts", "gitserver", "hfcompat", "hub", "lfs", "storage"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and LIST.fullmatch(node.value):
                    broken += [f"{path.name}: {word}" for word in node.value.split() if word.endswith("-")]

    assert broken == []


@pytest.mark.parametrize("client", ["newest", "1.29", "0.36"])
def test_w24_every_field_of_the_clients_may_be_expanded(client: str) -> None:
    found = list((ROOT / ".venv" / "clients" / client).glob("lib/python*/site-packages/huggingface_hub/hf_api.py"))
    if not found:
        pytest.skip(f"huggingface_hub {client} is not installed: run tests/clients/install.sh")
    text = found[0].read_text("utf-8")
    for kind in RepoKind:
        literal = re.search(rf"^Expand{kind.value.capitalize()}Property_T = Literal\[(.*?)\]", text, re.MULTILINE | re.DOTALL)
        assert literal is not None
        assert set(re.findall(r'"([^"]+)"', literal[1])) - EXPANDABLE[kind] == set()


def test_w24_fields_of_another_kind_are_refused() -> None:
    for kind, names in JAVASCRIPT.items():
        assert set(names.split()) - EXPANDABLE[kind] == set()
    assert "safetensors" not in EXPANDABLE[RepoKind.DATASET] | EXPANDABLE[RepoKind.SPACE]
    assert "sdk" not in EXPANDABLE[RepoKind.MODEL]


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-.inf", ".nan", ".NaN", "1e999"])
def test_w15_what_json_cannot_hold_is_null(text: str) -> None:
    shown = card(f"value: {text}\nother: [{text}]")

    assert shown in ({"value": None, "other": [None]}, {"value": text, "other": [text]})
    assert (shown["value"] is None) == (text.startswith((".", "-.")) or text == "1e999")


def test_w16_yaml_1_2() -> None:
    block = "language: no\nwords: [on, off, yes, No, y]\nis: [true, False]\ntime: 12:30:45\nday: 2024-01-31\nold: 010\nhex: 0x1F\noct: 0o17"

    assert card(block) == {
        "language": "no",
        "words": ["on", "off", "yes", "No", "y"],
        "is": [True, False],
        "time": "12:30:45",
        "day": "2024-01-31",
        "old": 10,
        "hex": 31,
        "oct": 15,
    }
    assert card('a: "1"\nb: !!str 2\nc: ~\nd:\ne: 1.50\nf: .5\ng: -3\n1: one\ntrue: yes\n2024-01-31: {2: 3}') == {
        "a": "1",
        "b": "2",
        "c": None,
        "d": None,
        "e": 1.5,
        "f": 0.5,
        "g": -3,
        "1": "one",
        "true": "yes",
        "2024-01-31": {"2": 3},
    }


def test_w28_anchors_and_aliases() -> None:
    block = "base: &base {a: 1, b: &list [x, y]}\nagain: *base\nmore:\n  <<: *base\n  b: 2\nkeys: *list"

    assert card(block) == {
        "base": {"a": 1, "b": ["x", "y"]},
        "again": {"a": 1, "b": ["x", "y"]},
        "more": {"a": 1, "b": 2},
        "keys": ["x", "y"],
    }
    assert problems(f"---\n{block}\n---\n", LIMITS) == ([], [])


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        (
            "\n".join(["a0: &a0 [x]", *(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]" for n in range(9))]),
            "with its aliases",
        ),
        (
            "\n".join(
                [
                    "a0: &a0 {k: v}",
                    *(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 10)}]}}" for n in range(9)),
                ]
            ),
            "aliases",
        ),
        ("a: &a [*a]", "no value that stands before"),
        ("a: " + "[" * 500 + "]" * 500, "deeper than 100"),
        ("a: " + "[" * 200_000, "deeper than 100|bad YAML"),
        ("a: !!python/object/apply:os.system [true]", "tag"),
        ("a: !own x", "tag"),
        ("a: !!int x", "no int"),
        ("? [a, b]\n: c", "key"),
        ("a: 1\n...\nb: 2", "bad YAML"),
        ("a: 1\n--- b\n", "more than one"),
        ("- a", "not a mapping"),
        ("a: [", "bad YAML"),
    ],
)
def test_w28_what_would_grow_or_act_is_refused(block: str, fault: str) -> None:
    with pytest.raises(CardError, match=fault):
        card(block)


def test_w17_front_matter_of_any_usual_size() -> None:
    rows = "".join(f"- config_name: name{n}\n  data_files: data/{n}.parquet\n" for n in range(3000))
    text = f"---\nlicense: mit\nconfigs:\n{rows}---\n# Title\n".encode() + b"text\n" * 100_000
    pieces = (text[at : at + 64 * 1024] for at in range(0, len(text), 64 * 1024))
    shown = parse(_head(pieces, LIMITS.card_bytes).decode(), LIMITS)

    assert shown is not None
    assert (shown["license"], len(shown["configs"])) == ("mit", 3000)
    assert next(pieces), "the text below is not read"
    with pytest.raises(CardError, match="more than 65536 bytes"):
        parse(text.decode(), Limits(card_bytes=64 * 1024))
    assert Limits().card_bytes == 4 * MIB


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("---\na: 1\n---", {"a": 1}),
        ("\ufeff---\r\na: 1\r\n---\r\n", {"a": 1}),
        ("\n\n--- \na: 1\n---  \ntext", {"a": 1}),
        ("---\na: |\n  x\n  ---\n---\n", {"a": "x\n---\n"}),
        ("---\n---\ntext", {}),
        ("---\na: 1\n----\n", None),
        ("text\n---\na: 1\n---\n", None),
        ("", None),
    ],
)
def test_where_front_matter_begins_and_ends(text: str, shown: object) -> None:
    assert parse(text, LIMITS) == shown


def test_s5_cards_that_are_kept_are_bounded_in_bytes() -> None:
    limits = Limits(card_expanded_bytes=1000)
    kept = Cards(None, limits)._kept  # type: ignore[arg-type]
    for number in range(20):
        kept.keep(bytes([number]) * 20, "x" * 500)

    assert kept.held <= 2000
    assert kept.get(bytes([19]) * 20) == "x" * 500
