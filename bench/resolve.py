"""Requests a second of /resolve on one file of a running hub: HEAD and GET, small and LFS.

    resolve.py URL REPOSITORY TOKEN PATH... [--connections 16] [--seconds 4]
"""

import argparse
import asyncio
import statistics
import time

import aiohttp


async def load(session: aiohttp.ClientSession, method: str, url: str, seconds: float, times: list[float]) -> None:
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        async with session.request(method, url) as response:
            await response.read()
            response.raise_for_status()
        times.append((time.perf_counter() - started) * 1000)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("repository")
    parser.add_argument("token")
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    print("| request | requests/s | p50 ms | p99 ms |\n|---|---|---|---|")
    headers = {"Authorization": f"Bearer {options.token}", "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for path in options.paths:
            for method in ("HEAD", "GET"):
                times: list[float] = []
                url = f"{options.url}/{options.repository}/resolve/main/{path}"
                await asyncio.gather(*(load(session, method, url, options.seconds, times) for _ in range(options.connections)))
                ranks = statistics.quantiles(times, n=100)
                print(f"| {method} {path} | {len(times) / options.seconds:.0f} | {ranks[49]:.1f} | {ranks[98]:.1f} |")


asyncio.run(main())
