"""When a socket is told that it has everything, when it is closed, and that none waits for another."""

from __future__ import annotations

import asyncio
from random import Random

from tests.support.virtual_loop import later, until
from tests.unit.front.signal_log import ALICE, NEIGHBOURS, principal
from tests.unit.signals.records import NOW_NS
from tests.unit.stream.stage import Client, Stage, play


def test_a_beat_comes_every_few_seconds_with_the_last_sequence() -> None:
    """So that a client knows that it has everything, and its clock against the hub's."""

    async def story(stage: Stage) -> list[tuple[int, float]]:
        client = stage.open("since_seq=0")
        stage.signal(1)
        for _ in range(11):
            await later(1)
            stage.owner_beats()
        beats = client.notes("beat")
        return [(beat["last_sequence"], round((beat["at_ns"] - NOW_NS) / 1e9)) for beat in beats]

    assert play(story) == [(1, 2), (1, 4), (1, 6), (1, 8), (1, 10)]


def test_no_beat_promises_what_nobody_knows() -> None:
    """An owner that is silent, or a broker that is away, ends the beats: there may be more than was sent."""

    async def story(stage: Stage) -> tuple[int, int]:
        client = stage.open("since_seq=0")
        stage.signal(1)
        await later(20)
        silent = len(client.notes("beat"))
        stage.owner_beats()
        await later(3)
        return silent, len(client.notes("beat"))

    silent, again = play(story)
    assert silent <= 3
    assert again == silent + 1


def test_a_slow_client_is_cut_with_the_last_sequence_it_was_sent_and_nobody_waits_for_it() -> None:
    """By what waits for it; it may come back and go on there."""

    async def story(stage: Stage) -> tuple[Client, Client, list[int]]:
        slow, quick = stage.open("since_seq=0"), stage.open("since_seq=0")
        stage.signal(1)
        await until(lambda: quick.sequences and slow.sequences)
        slow.stick()
        for sequence in range(2, 30):
            stage.signal(sequence)
            await later(0.01)
            assert quick.sequences[-1] == sequence
        await until(lambda: slow.closed)
        back = stage.open("since_seq=1")
        await until(lambda: 29 in back.sequences)
        return slow, quick, back.sequences

    slow, quick, back = play(story, queue_frames=10, beat_s=100)

    assert slow.closed == (4408, "too slow: what waited for you was more than is kept; last sequence 2")
    assert quick.sequences == list(range(1, 30))
    assert back == list(range(2, 30))


def test_bytes_count_as_well_as_frames() -> None:
    """Large signals fill the box sooner."""

    async def story(stage: Stage) -> tuple[int, str] | None:
        client = stage.open("since_seq=0")
        await later(1)
        client.stick()
        for sequence in range(1, 8):
            stage.signal(sequence, reason="x" * 4000)
        await until(lambda: client.closed)
        return client.closed

    closed = play(story, queue_bytes=10_000, beat_s=100)
    assert closed
    assert closed[0] == 4408


def test_a_client_that_takes_nothing_for_long_is_cut() -> None:
    """Also if hardly anything waits for it."""

    async def story(stage: Stage) -> tuple[tuple[int, str] | None, float]:
        client = stage.open("since_seq=0")
        await later(1)
        client.stick()
        stage.signal(1)
        await until(lambda: client.closed, within_s=60)
        return client.closed, asyncio.get_running_loop().time()

    closed, after_s = play(story, send_s=10)
    assert closed
    assert closed[0] == 4408
    assert 10 < after_s < 13


def test_a_token_that_ends_ends_the_stream() -> None:
    """At its own time, not at the next signal's; and within the recheck if it is no longer good at all."""

    async def story(stage: Stage) -> tuple[float, float]:
        stage.tokens.expires_s[ALICE] = NOW_NS / 1e9 + 5
        expiring = stage.open("since_seq=0")
        await until(lambda: expiring.closed)
        ended_s = asyncio.get_running_loop().time()
        assert expiring.closed == (4401, "the token has ended; connect with a new one; last sequence 0")
        withdrawn = stage.open(token=NEIGHBOURS[0])
        await later(1)
        stage.tokens.gone.add(NEIGHBOURS[0])
        await until(lambda: withdrawn.closed, within_s=100)
        assert withdrawn.closed
        assert withdrawn.closed[0] == 4401
        return ended_s, asyncio.get_running_loop().time() - ended_s

    ended_s, withdrawn_s = play(story)
    assert 5 <= ended_s < 5.1
    assert withdrawn_s < 63


def test_an_entitlement_that_ends_ends_the_stream() -> None:
    """And nobody without one is let in."""

    async def story(stage: Stage) -> tuple[tuple[int, str] | None, int]:
        entitled = principal().model_copy(update={"entitled_until_ns": NOW_NS + 3 * 10**9})
        stage.tokens.principals[ALICE] = entitled
        client = stage.open("since_seq=0")
        await until(lambda: client.closed)
        again = stage.open("since_seq=0")
        await until(lambda: again.refused)
        assert again.refused
        return client.closed, again.refused[0]

    assert play(story) == ((4403, "the entitlement has ended; last sequence 0"), 403)


def test_a_replica_that_ends_sends_its_clients_away_with_where_to_go_on() -> None:
    """And lets nobody in any more."""

    async def story(stage: Stage) -> tuple[list[tuple[int, str] | None], int]:
        clients = [stage.open("since_seq=0") for _ in range(3)]
        stage.signal(1)
        await until(lambda: all(client.sequences for client in clients))
        stage.app.leave()
        await until(lambda: all(client.closed for client in clients))
        late = stage.open()
        await until(lambda: late.refused)
        assert late.refused
        return [client.closed for client in clients], late.refused[0]

    closed, late = play(story)
    assert closed == [(1001, "the hub is being redeployed; connect again; last sequence 1")] * 3
    assert late == 503


def test_a_client_has_nothing_to_say() -> None:
    """A stream goes one way; who sends is closed, whatever it is."""

    async def story(stage: Stage) -> tuple[int, str] | None:
        client = stage.open()
        client.say("hello")
        await until(lambda: client.closed)
        return client.closed

    assert play(story) == (4400, "this stream takes no messages; last sequence 0")


def test_what_is_left_of_a_closed_socket_is_nothing() -> None:
    """Not its session, not its tasks, not its place in the user's limit; what was sent is counted."""

    async def story(stage: Stage) -> tuple[int, bool, int, float, float]:
        before = len(asyncio.all_tasks())
        for _ in range(30):  # more than the tier allows at once
            client = stage.open("since_seq=0")
            await later(0.1)
            client.leave()
            await until(lambda: not len(stage.switchboard))
        stage.signal(1)
        client = stage.open("since_seq=0")
        await until(lambda: client.sequences)
        client.leave()
        await until(lambda: not len(stage.switchboard))
        await later(1)
        closed = stage.meter.values["hub_stream_closed_total", (("reason", "client"),)]
        frames = stage.meter.values["hub_stream_frames_total", (("kind", "signal"),)]
        wanted = stage.switchboard.wants(ALICE.encode())
        return len(asyncio.all_tasks()) - before, wanted, len(stage.switchboard), closed, frames

    assert play(story) == (0, False, 0, 31, 1)


def test_no_canary_reaches_another_user_while_sockets_come_and_go() -> None:
    """S3: signals carry their user's canary; sockets are opened, cancelled and stuck at random, under a
    follower that serves them all, and a few records are addressed by key to one and by body to another.
    """

    async def story(stage: Stage) -> tuple[int, int]:
        rng, users = Random(11), [ALICE, *NEIGHBOURS]
        flowing = asyncio.create_task(canaries(stage, rng, users))
        clients: list[tuple[str, Client]] = []
        while not flowing.done():
            user = rng.choice(users)
            client = stage.open(f"since_seq={rng.randrange(3)}", token=user)
            clients.append((user, client))
            await later(rng.random() * 0.2)
            rng.choice((client.leave, client.stick, lambda: None))()
        await later(5)
        own = sum(f["reason"] == f"canary-{user}" for user, c in clients for f in signals(c))
        return own, sum(len(signals(c)) for _, c in clients) - own

    def signals(client: Client) -> list[dict[str, object]]:
        return [frame for frame in client.frames if "type" not in frame]

    own, foreign = play(story)
    assert own > 500
    assert foreign == 0


async def canaries(stage: Stage, rng: Random, users: list[str]) -> None:
    """Each user's signals in turn, with forged ones between them."""
    for sequence in range(1, 60):
        for user in users:
            stage.signal(sequence, user, reason=f"canary-{user}")
            if rng.random() < 0.1:
                other = rng.choice([one for one in users if one != user])
                stage.signal(sequence, user, user_id=other, reason=f"canary-{other}", epoch=stage.log.epoch)
            if rng.random() < 0.1:
                stage.signal(
                    sequence + 1, user, tenant_id="other", reason="canary-tenant", epoch=stage.log.epoch
                )
        await later(0.1)
