"""A group member in a process of its own, so that a test can freeze it. Run with a `KafkaConfig` as JSON.

Reads questions as JSON lines, `["join", group, topic]` and `["confirm", partition]`, and answers in kind.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from messaging.config import KafkaConfig
from messaging.kafka import KafkaBus
from messaging.ports import Membership


async def main(config: KafkaConfig) -> None:
    """Answer until standard input ends."""
    bus = KafkaBus(config, "member")
    member: Membership | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        match json.loads(line):
            case ["join", group, topic]:
                member = await bus.join(group, topic)
                answer: object = sorted(await member.changed())
            case ["confirm", partition]:
                answer = member is not None and await member.confirm(partition)
            case question:
                raise ValueError(f"not a question: {question}")
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(KafkaConfig.model_validate_json(sys.argv[1])))
