import asyncio
import time

from codedpo.llm.throttle import Throttle


def test_the_limit_grows_with_answers_and_never_beyond_the_most() -> None:
    throttle = Throttle(16)
    assert throttle.limit == 2
    for _ in range(1000):
        throttle.succeeded()
    assert throttle.limit == 16


def test_one_overload_of_many_calls_halves_the_limit_once() -> None:
    throttle = Throttle(64)
    for _ in range(8):
        throttle.overloaded(0.2)
    assert throttle.limit == 4
    time.sleep(0.25)
    throttle.overloaded(0.0)
    assert throttle.limit == 2


def test_calls_share_the_cool_down_and_the_limit() -> None:
    async def scenario() -> tuple[float, int]:
        throttle = Throttle(8)
        throttle.limit = 3
        throttle.overloaded(0.2)
        throttle.limit = 3
        most = 0
        started = time.monotonic()
        first = 0.0

        async def call() -> None:
            nonlocal most, first
            async with throttle.slot():
                first = first or time.monotonic() - started
                most = max(most, throttle.running)
                await asyncio.sleep(0.01)

        await asyncio.gather(*(call() for _ in range(12)))
        return first, most

    first, most = asyncio.run(scenario())
    assert first >= 0.19
    assert most == 3


def test_a_closed_throttle_gives_no_place_and_ends_every_wait() -> None:
    async def scenario() -> list[bool]:
        throttle = Throttle(8)
        found: list[bool] = []

        async def call() -> None:
            async with throttle.slot() as may_call:
                found.append(may_call)
                await throttle.pause(0.05 if may_call else 600)

        calls = [asyncio.create_task(call()) for _ in range(3)]
        await asyncio.sleep(0.01)
        throttle.overloaded(600)
        throttle.close()
        await asyncio.gather(*calls)
        return found

    assert asyncio.run(scenario()) == [True, False, False]
