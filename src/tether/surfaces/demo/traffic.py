"""The work that the connection is for: numbered messages out, and the same ones in.

The publisher calls through ``reconnector.run()``. A message counts as sent only when the server has acknowledged it.
While the connection is down ``run()`` refuses at once, so such a message never left; one that was under way when the
connection was lost is unsure. Nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tether.errors import IndeterminateError, NotConnected
from tether.storage import RedisReconnector
from tether.storage.redis.subscriptions import Subscription
from tether.surfaces.demo.ledger import Ledger

CHANNEL = "ticks"

RATE = 20.0
"""Messages per second."""


async def subscribe(reconnector: RedisReconnector, ledger: Ledger) -> Subscription:
    """Have every message that comes noted in ``ledger``."""
    now = asyncio.get_running_loop().time

    def take(message: dict[str, Any]) -> None:
        ledger.received(int(message["data"]), now())

    return await reconnector.subscribe(CHANNEL, handler=take)


async def publish_for_ever(reconnector: RedisReconnector, ledger: Ledger, rate: float = RATE) -> None:
    """Send ``rate`` numbered messages per second, one at a time, and note what becomes of each."""
    now = asyncio.get_running_loop().time
    # The tour's pauses are whole numbers of ticks: from here on, a fault meets a message at any point of its way.
    due, number = now() + random.random() / rate, 0
    await asyncio.sleep(due - now())
    while True:
        number += 1
        await _publish(reconnector, ledger, number)
        due = max(due + 1 / rate, now())
        await asyncio.sleep(due - now())


async def _publish(reconnector: RedisReconnector, ledger: Ledger, number: int) -> None:
    from redis.exceptions import RedisError

    try:
        await reconnector.run(lambda client: client.publish(CHANNEL, number))
    except NotConnected:
        ledger.refused(number)
    except (IndeterminateError, RedisError, OSError):
        ledger.unsure(number)
    else:
        ledger.acknowledged(number, asyncio.get_running_loop().time())
