"""O4: what README.md says is what happens."""

import os
import re
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_o4_the_first_block_of_the_readme_runs_as_pasted(tmp_path: Path) -> None:
    """In an empty home, without an identity for git; the port and what is installed already are all that differ."""
    subprocess.run(["make", "-s", "install"], cwd=ROOT, check=True)  # else the block would install a folder without packages
    block = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[0]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here, home = tmp_path / "kohakuhub", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    for name in ("Makefile", "setup.cfg", "pyproject.toml", ".venv", ".ci"):
        (here / name).symlink_to(ROOT / name)
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "KOHAKU_HUB_PORT": port, "GIT_CONFIG_NOSYSTEM": "1"}
    script = "set -e\n" + block.replace("28080", port) + 'git log -1 --format=%an "origin/$(git branch --show-current)"\n'
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=here,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        shown, _ = shell.communicate(timeout=120)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)  # the hub goes on

    assert shell.returncode == 0, shown
    assert shown.splitlines()[-1] == "Ann", shown


def test_o4_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)

    assert [link for link in links if not link.startswith("https://") and not (ROOT / link).exists()] == []
    assert len(links) > 8


def test_o4_numbers_of_the_readme_are_measured_ones() -> None:
    measured = (ROOT / "bench" / "README.md").read_text("utf-8")
    rows = {"0.23": "clone_bare", "0.03": "clone_depth1", "1.14": "push_all"}

    for number, row in rows.items():
        assert f"{number} times" in README
        assert re.search(rf"\| {row} \|.*\| {re.escape(number)} \|", measured)
