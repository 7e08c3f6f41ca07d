"""A FHIR server that answers every search after the delay its path names: ``/100/fhir/...``."""

from __future__ import annotations

import argparse
import asyncio
from datetime import date

from benchmarks import bodies


async def main() -> None:
    """Serve until a signal ends the process."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--today", type=date.fromisoformat, required=True)
    chosen = options.parse_args()
    answers = _answers(chosen.today)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                _, milliseconds, _, kind = head.split(b" ", 2)[1].split(b"?")[0].split(b"/")[:4]
                await asyncio.sleep(int(milliseconds) / 1000)
                writer.write(answers.get(kind.decode(), answers["Device"]))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", chosen.port, backlog=1024)
    async with server:
        await server.serve_forever()


def _answers(today: date) -> dict[str, bytes]:
    resources = bodies.chart(today)
    found = {
        kind: bodies.searchset([each for each in resources if each["resourceType"] == kind])
        for kind in bodies.KEYS
    }
    found["Patient"] = resources[0]
    return {kind: _http(bodies.encoded(value)) for kind, value in found.items()}


def _http(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


if __name__ == "__main__":
    asyncio.run(main())
