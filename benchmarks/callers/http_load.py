"""The process that calls by HTTP: `run URL TOKEN SECONDS CALLERS FILE` posts FILE again and again.

HTTP/1.1 by hand on kept connections, because on two cores a comfortable client would cost more than what it
measures.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.callers.measured import Measured
from benchmarks.child import commands, say

_OK = b" 200 "


@dataclass(frozen=True)
class Post:
    """One request as bytes, and where it goes."""

    host: str
    port: int
    request: bytes

    @classmethod
    def of(cls, url: str, token: str, body: bytes) -> Post:
        target = urlsplit(url)
        head = (
            f"POST {target.path} HTTP/1.1\r\nhost: {target.netloc}\r\nauthorization: Bearer {token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return cls(target.hostname or "", target.port or 80, head.encode() + body)


async def caller(post: Post, end_s: float, into: Measured) -> None:
    """Call again as soon as there is an answer, on one connection."""
    reader, writer = await asyncio.open_connection(post.host, post.port)
    try:
        while (begun_s := time.perf_counter()) < end_s:
            writer.write(post.request)
            if await _answered(reader):
                into.latencies_ms.append((time.perf_counter() - begun_s) * 1e3)
            else:
                into.failed += 1
    finally:
        writer.close()


async def _answered(reader: asyncio.StreamReader) -> bool:
    """Read one answer to its end; whether it was 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        _, _, length = head.partition(b"content-length: ")
        await reader.readexactly(int(length.split(b"\r\n", 1)[0]))
    return _OK in head.split(b"\r\n", 1)[0]


async def _run(post: Post, *, seconds: float, callers: int) -> Measured:
    measured, end_s = Measured(seconds), time.perf_counter() + seconds
    await asyncio.gather(*(caller(post, end_s, measured) for _ in range(callers)))
    return measured


async def _main() -> None:
    say({})
    async for command in commands():
        _, url, token, seconds, callers, file = command.split()
        post = Post.of(url, token, await asyncio.to_thread(Path(file).read_bytes))
        say((await _run(post, seconds=float(seconds), callers=int(callers))).plain())


if __name__ == "__main__":
    asyncio.run(_main())
