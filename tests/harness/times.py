"""A pytest plugin that writes how long each phase of each test took to a file: wall and CPU seconds, its own and its ended children's.

The file is `.cache/test-times.tsv` (KOHAKU_TEST_TIMES names another one); `python -m tests.harness.times` sums it up.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

FILE = Path(os.environ.get("KOHAKU_TEST_TIMES", Path(__file__).parent.parent.parent / ".cache" / "test-times.tsv"))
PHASES = ("setup", "call", "teardown")


def _measured(phase: str) -> Any:
    @pytest.hookimpl(wrapper=True)
    def hook(item: pytest.Item) -> Generator[None, Any, Any]:
        before = sum(os.times()[:4])
        try:
            return (yield)
        finally:
            item.user_properties.append((phase, sum(os.times()[:4]) - before))

    return hook


pytest_runtest_setup, pytest_runtest_call, pytest_runtest_teardown = (_measured(phase) for phase in PHASES)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        FILE.parent.mkdir(exist_ok=True)
        config.pluginmanager.register(_Writer())


class _Writer:
    """In the process that hears of all tests."""

    def __init__(self) -> None:
        self._file = FILE.open("w", buffering=1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        cpu = dict(report.user_properties).get(report.when or "", 0.0)
        worker = getattr(report, "worker_id", "")
        self._file.write(
            f"{report.nodeid}\t{report.when}\t{report.duration:.3f}\t{cpu:.3f}\t{worker}\t{report.outcome}\t{report.start:.2f}\n"
        )

    def pytest_unconfigure(self) -> None:
        self._file.close()


def main() -> None:
    """Wall and CPU seconds of each module, and of the tests that took longest."""
    modules: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    tests: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for line in Path(sys.argv[1] if len(sys.argv) > 1 else FILE).read_text().splitlines():
        name, phase, wall, cpu, *_ = line.split("\t")
        for table, key in ((modules, name.partition("::")[0]), (tests, name)):
            table[key] = [table[key][0] + float(wall), table[key][1] + float(cpu), table[key][2] + (phase == "setup")]
    for table, most in ((modules, 40), (tests, 60)):
        total = [sum(row[n] for row in table.values()) for n in range(3)]
        print(f"{total[0]:8.1f} {total[1]:8.1f} {total[2]:5.0f}  all")
        for key, row in sorted(table.items(), key=lambda pair: -pair[1][0])[:most]:
            print(f"{row[0]:8.1f} {row[1]:8.1f} {row[2]:5.0f}  {key}")


if __name__ == "__main__":
    main()
