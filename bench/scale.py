"""What a repository of large_history.py costs at the Hugging Face door: scale.py URL NAMESPACE/NAME TOKEN PID

The hub was started a moment ago: of each question the first answer is cold, and the median of the others warm. Then the whole recursive tree page by
page, one-file commits, and the memory of the process PID.
"""

import http.client
import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

WARM = 9
COMMITS = 40


class Hub:
    """One connection, kept alive."""

    def __init__(self, url: str, token: str, pid: str) -> None:
        self.pid = pid
        self.headers = {"Authorization": f"Bearer {token}"}
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
        self.ms = self.cpu = 0.0  # of the last answer, whole

    def ask(self, path: str, body: bytes | None = None) -> tuple[bytes, Mapping[str, str]]:
        begun, spent = time.perf_counter(), self.spent()
        more = {"Content-Type": "application/x-ndjson"} if body else {}
        self.connection.request("POST" if body else "GET", path, body, self.headers | more)
        answer = self.connection.getresponse()
        data = answer.read()
        self.ms, self.cpu = (time.perf_counter() - begun) * 1000, self.spent() - spent
        if answer.status != 200:
            raise SystemExit(f"{path} was answered {answer.status}: {data[:300]!r}")
        return data, answer.headers

    def spent(self) -> float:
        """CPU of all its threads, in ms."""
        return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{self.pid}/task").iterdir()) / 1e6


def shown(name: str, cold: tuple[float, float], warm: list[tuple[float, float]]) -> None:
    medians = [statistics.median(times) for times in zip(*warm, strict=True)]
    print(f"| {name} | {cold[0]:.1f} | {cold[1]:.1f} | {medians[0]:.1f} | {medians[1]:.1f} |")


def questions(hub: Hub, repo: str) -> None:
    api = f"/api/models/{repo}"
    asked = {
        "S1 tree of the root with last commits, 50 a page": f"{api}/tree/main?expand=true",
        "S1 the same of one folder": f"{api}/tree/main/d00001?expand=true",
        "S1 commits of one file": f"{api}/commits/main?path=d00001/f0000150.txt",
        "S2 info with all siblings": api,
        "tree, first page of the root": f"{api}/tree/main",
        "commits, first page": f"{api}/commits/main",
        "resolve of a small file": f"/{repo}/resolve/main/d00001/f0000150.txt",
    }
    for name, path in asked.items():
        hub.ask(path)
        cold, warm = (hub.ms, hub.cpu), []
        for _ in range(WARM):
            hub.ask(path)
            warm.append((hub.ms, hub.cpu))
        shown(name, cold, warm)


def whole_tree(hub: Hub, repo: str) -> None:
    siblings = len(json.loads(hub.ask(f"/api/models/{repo}")[0])["siblings"])
    pages, files, path = [], 0, f"/api/models/{repo}/tree/main?recursive=true"
    while path:
        body, headers = hub.ask(path)
        pages.append((hub.ms, hub.cpu))
        files += sum(row["type"] == "file" for row in json.loads(body))
        link = headers.get("Link", "")
        path = link[1 : link.index(">")].replace(f"{urlsplit(link[1:]).scheme}://{urlsplit(link[1:]).netloc}", "") if link else ""
    shown("S3 recursive tree, a page of 1,000", pages[0], pages)
    print(
        f"| the same whole, {len(pages)} pages, s | | | {sum(ms for ms, _ in pages) / 1000:.2f} | {sum(cpu for _, cpu in pages) / 1000:.2f} |"
    )
    if files != siblings:
        raise SystemExit(f"the tree has {files} files, info {siblings} siblings")


def commits(hub: Hub, repo: str) -> None:
    times = []
    for number in range(COMMITS):
        file = {"path": f"d{number * 37 % 100:05d}/new-{time.time_ns()}.txt", "content": "aGVsbG8=", "encoding": "base64"}
        lines = [{"key": "header", "value": {"summary": "one file"}}, {"key": "file", "value": file}]
        hub.ask(f"/api/models/{repo}/commit/main", "\n".join(map(json.dumps, lines)).encode())
        times.append((hub.ms, hub.cpu))
    shown("S4 one-file commit", times[0], times)


def main(url: str, repo: str, token: str, pid: str) -> None:
    hub = Hub(url, token, pid)
    print("| question | cold, ms | its CPU | warm, ms | its CPU |\n|---|---|---|---|---|")
    questions(hub, repo)
    whole_tree(hub, repo)
    commits(hub, repo)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    print(
        f"| S5 memory of the worker: peak, now, MB | {int(status['VmHWM'].split()[0]) >> 10} | | {int(status['VmRSS'].split()[0]) >> 10} | |"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
