"""ratios.py FOLDER: what bench/git.sh measured there (hub, hubcold, cgit, dulwich), as one Markdown table with ratios and goals."""

import json
import sys
from pathlib import Path
from typing import Any

# Operation: what of it is compared with C git's, and at most how many times that (the goals).
GOALS = {
    "ls_remote": ("server_cpu", 1.5),
    "clone_bare": ("server_cpu", 1.0),
    "clone_bare, cold": ("server_cpu", 2.0),
    "clone_depth1": ("server_cpu", 1.5),
    "clone_blobless": ("server_cpu", 1.5),
    "fetch_1": ("server_cpu", 2.0),
    "fetch_100": ("server_cpu", 2.0),
    "push_1": ("server_cpu", 2.0),
    "push_all": ("server_cpu", 1.5),
    "clone_x8": ("wall", 1 / 0.9),
}


def load(folder: Path, name: str) -> dict[str, Any]:
    paths = (folder / f"{name}.json", folder / f"{name}last.json")
    return {op: row for path in paths if path.exists() for op, row in json.loads(path.read_text("utf-8"))["ops"].items()}


def cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if not row.get("n_ok"):
        return "fails"
    return f"{row['server_cpu']:.3f} / {row['wall']:.2f} / {row['anon_peak_mb']:.0f}"


def main(folder: Path) -> None:
    hub, git, dulwich = (load(folder, name) for name in ("hub", "cgit", "dulwich"))
    for name, row in load(folder, "hubcold").items():
        hub[f"{name}, cold"], git[f"{name}, cold"] = row, git.get(name)
    print("| operation | hub | C git | ratio | goal | dulwich |")
    print("|---|---|---|---|---|---|")
    for name in sorted(hub, key=[*git].index):
        what, goal = GOALS.get(name, ("server_cpu", None))
        ours, theirs = hub[name].get(what), (git.get(name) or {}).get(what)
        ratio = f"{ours / theirs:.2f}" if ours and theirs else ""
        aim = f"{goal:.2f} ({'wall' if what == 'wall' else 'CPU'})" if goal else ""
        print(f"| {name} | {cell(hub[name])} | {cell(git.get(name))} | {ratio} | {aim} | {cell(dulwich.get(name))} |")
    print("\nCells: server CPU seconds / wall seconds / peak of private memory of all its processes, MB.")


main(Path(sys.argv[1]))
