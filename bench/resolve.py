"""Requests a second of /resolve on one file of a running hub: HEAD and GET, small and LFS; with --pid the server's CPU for each, too.

resolve.py URL REPOSITORY TOKEN PATH... [--revision main] [--connections 16] [--seconds 4] [--pid PID]
"""

import argparse
import asyncio
import os
import statistics
import time
from pathlib import Path

import aiohttp


async def load(session: aiohttp.ClientSession, method: str, url: str, seconds: float, times: list[float]) -> None:
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        async with session.request(method, url) as response:
            await response.read()
            response.raise_for_status()
        times.append((time.perf_counter() - started) * 1000)


def cpu_seconds(pid: int) -> float:
    """Of the process and its workers so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, children))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("repository")
    parser.add_argument("token")
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--revision", default="main")
    parser.add_argument("--pid", type=int, default=0, help="of the hub, to tell its CPU")
    options = parser.parse_args()
    print("| request | requests/s | p50 ms | p99 ms | server CPU ms |\n|---|---|---|---|---|")
    headers = {"Authorization": f"Bearer {options.token}", "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for path in options.paths:
            for method in ("HEAD", "GET"):
                times: list[float] = []
                url = f"{options.url}/{options.repository}/resolve/{options.revision}/{path}"
                before = cpu_seconds(options.pid) if options.pid else 0.0
                await asyncio.gather(*(load(session, method, url, options.seconds, times) for _ in range(options.connections)))
                spent = (cpu_seconds(options.pid) - before) * 1000 / len(times) if options.pid else 0.0
                shown = f"{spent:.2f}" if options.pid else "not asked"
                ranks = statistics.quantiles(times, n=100)
                print(f"| {method} {path} | {len(times) / options.seconds:.0f} | {ranks[49]:.1f} | {ranks[98]:.1f} | {shown} |")


asyncio.run(main())
