"""What a step of a schedule does to the world."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.calls import Call, Waiter
from tests.simulation.member import Member
from tests.simulation.servers import LATENCY, RESET, Busy, Handle

if TYPE_CHECKING:
    from tests.simulation.world import World

Args = tuple[Any, ...]


def fault(world: World, who: int, args: Args, act: str) -> None:
    """Let something go wrong with a server."""
    loop = asyncio.get_running_loop()
    for handle in world.servers[who].begin(act, args):
        owner = next(member for member in world.members if handle in member.connector.handles)
        loop.call_later(LATENCY, _hear, owner, handle, _goodbye(act, args, loop.time()))


def _goodbye(act: str, args: Args, now: float) -> BaseException:
    if act == "deny":
        return PermissionError(13, "revoked")
    if act == "loading" and args[0] is not None:
        return Busy(now + args[0])
    return RESET(104, act)


def _hear(owner: Member, handle: Handle, error: BaseException) -> None:
    if not handle.ended:
        owner.connector.lose(handle, error)


def heal(world: World, who: int, args: Args) -> None:
    """Let a fault end."""
    world.servers[who].heal(args[0])


# -- one connection ---------------------------------------------------------------------------------------------------


def cut(world: World, who: int, args: Args) -> None:
    """Have a driver say, once or twice, that its connection has died; users may cancel their calls in that moment."""
    connector = world.members[who].connector
    times, cancels = args
    for handle in connector.handles[-1:]:
        for _ in range(times):
            connector.lose(handle, RESET(104, "cut"))
    if cancels:
        world.cancel_users(world.members[who])


def mute(world: World, who: int, _: Args) -> None:
    """Have the peer answer no more on the connection there is."""
    for handle in world.members[who].connector.handles[-1:]:
        handle.mute = True
        handle.doom()


def stale(world: World, who: int, args: Args) -> None:
    """Have the driver of an older connection say that it has died."""
    member = world.members[who]
    handle = member.story.handles.get(member.story.generation - args[0])
    if handle is not None:
        member.connector.lose(handle, RESET(104, "stale"))


def manner(world: World, who: int, args: Args) -> None:
    """Have the driver misbehave from now on."""
    name, lasts = args
    world.members[who].connector.manners[name] = lasts


def polite(world: World, who: int, _: Args) -> None:
    """Have the driver behave again."""
    world.members[who].connector.manners.clear()


def mood(world: World, who: int, args: Args) -> None:
    """Have the callbacks do something else from now on."""
    world.members[who].mood = args[0]


# -- what users ask for -----------------------------------------------------------------------------------------------


def call(world: World, how: str, who: int, args: Args) -> None:
    """Make a call."""
    member = world.members[who]
    world.begin(member.calls, Call(member.r, member.connector, member.story, how, args), args[-1])


def wait(world: World, who: int, args: Args) -> None:
    """Wait for the connection."""
    timeout, cancel = args
    _waiter(
        world,
        who,
        "wait",
        functools.partial(world.members[who].r.wait_connected, timeout),
        cancel,
        timeout=timeout,
    )


def reconnect(world: World, who: int, args: Args) -> None:
    """Force a reconnect."""
    member = world.members[who]

    async def force() -> None:
        member.story.asks("force")
        await member.r.reconnect()

    _waiter(world, who, "reconnect", force, args[0])


def start(world: World, who: int, args: Args) -> None:
    """Start it."""
    must, cancel = args
    begin = functools.partial(world.members[who].r.start, require_initial=must)
    _waiter(world, who, "start or stop" if must else "start", begin, cancel)


def stop(world: World, who: int, args: Args) -> None:
    """Stop it."""
    _waiter(world, who, "stop", world.members[who].stop, args[0])


def _waiter(
    world: World,
    who: int,
    what: str,
    make: Callable[[], Any],
    cancel: float | None,
    *,
    timeout: float | None = None,
) -> None:
    member = world.members[who]
    world.begin(member.waiters, Waiter(member.story, what, make, timeout), cancel)


def report(world: World, who: int, args: Args) -> None:
    """Report an error, of this generation, an old one, or without one."""
    member, (off,) = world.members[who], args
    if off is None:
        member.r.report(EOFError())
        return
    generation = member.r.generation + off
    with member.story.old_news(generation):
        member.r.report(EOFError(), generation)


def pause(world: World, who: int, _: Args) -> None:
    """Pause it."""
    world.members[who].r.pause()


def resume(world: World, who: int, _: Args) -> None:
    """Resume it."""
    world.members[who].r.resume()


def credential(world: World, who: int, args: Args) -> None:
    """Say that there is a new credential, which may not be true."""
    member = world.members[who]
    member.is_fresh = args[0]
    member.story.asks("credential")
    member.r.credential_changed()
    member.story.waits.credential_changed()


def network(world: World, who: int, _: Args) -> None:
    """Say that the uplink has changed."""
    member = world.members[who]
    member.story.asks("network")
    member.r.network_changed()


def retries(world: World, who: int, args: Args) -> None:
    """Allow more or fewer attempts."""
    member = world.members[who]
    member.r.max_retries = member.story.waits.max_retries = args[0]


# -- the host and the manager -----------------------------------------------------------------------------------------


def stall(world: World, _: int, args: Args) -> None:
    """Block the loop."""
    world.stall(args[0])


def suspend(world: World, _: int, args: Args) -> None:
    """Put the host to sleep; after a long one nobody knows its connections any more."""
    (gap,) = args
    world.asleep += gap
    if gap < 60:
        return
    for server in world.servers:
        server.epoch += 1
        for handle in server.open_handles:
            handle.doom()


def wall(world: World, _: int, args: Args) -> None:
    """Set the clock of day."""
    world.wall_offset += args[0]


def start_all(world: World, who: int, _: Args) -> None:
    """Start all."""
    _waiter(world, who, "start all", world.manager.start_all, None)


def stop_all(world: World, who: int, _: Args) -> None:
    """Stop all."""
    _waiter(world, who, "stop all", world.manager.stop_all, None)


def wait_all(world: World, who: int, args: Args) -> None:
    """Wait for all."""
    timeout, cancel = args
    make = functools.partial(world.manager.wait_all_connected, timeout)
    _waiter(world, who, "wait all", make, cancel, timeout=timeout)


FAULTS = frozenset(
    "crash vanish freeze loading flap partition delay loss deny dns errors".split()  # noqa: SIM905
)
ACTS: dict[str, Callable[[World, int, Args], None]] = {
    **{name: functools.partial(fault, act=name) for name in FAULTS},
    "heal": heal,
    "cut": cut,
    "mute": mute,
    "stale": stale,
    "manner": manner,
    "polite": polite,
    "mood": mood,
    "run": lambda world, who, args: call(world, "run", who, args),
    "guard": lambda world, who, args: call(world, "guard", who, args),
    "wait": wait,
    "reconnect": reconnect,
    "start": start,
    "stop": stop,
    "report": report,
    "pause": pause,
    "resume": resume,
    "credential": credential,
    "network": network,
    "retries": retries,
    "stall": stall,
    "suspend": suspend,
    "wall": wall,
    "start all": start_all,
    "stop all": stop_all,
    "wait all": wait_all,
}
