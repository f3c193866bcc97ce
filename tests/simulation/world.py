"""The simulated world: plays one schedule on the virtual clock, and looks at every turn whether the invariants hold."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from tests.simulation.acts import ACTS
from tests.simulation.checks import detection
from tests.simulation.member import STOP_BOUND, Member
from tests.simulation.schedule import Schedule, Step
from tests.simulation.servers import Changes, Server
from tests.simulation.story import TINY
from tether import ReconnectManager, Status
from tether.core.events import Kind
from tether.errors import UsageError
from tether.runtime import engine, host_watch
from tether.runtime.wheel import wheel_of
from tether.testing.clock import Deadlock, VirtualTimeLoop

SERVERS = 2
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
HANDSHAKE = 2.5
"""Seconds in which a healthy server is reached, also when the first login is refused and the provider asked anew."""

LINGERING = 40.0
"""Seconds after which no driver clings to a cancelled call any more."""


class Broken(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant


class Loop(VirtualTimeLoop):
    """A virtual loop that says when nothing more can happen at this moment."""

    on_quiet: Callable[[], None] | None = None

    def _move_to(self, when: float) -> None:
        if self.on_quiet is not None and when > self._now:
            self.on_quiet()
        super()._move_to(when)


class Wall:
    """The clock of day, in the place of ``datetime`` in the runtime."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self, zone: tzinfo) -> datetime:
        """Return the simulated time of day."""
        world = self._world
        return (EPOCH + timedelta(seconds=world.now() + world.wall_offset)).astimezone(zone)


class World:
    """Everything there is in one schedule.

    Attributes:
        asleep: seconds that the host has slept.
        wall_offset: by how much the clock of day was set.
        broken: the first invariant that did not hold.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.changes = Changes()
        self.servers = [Server(self.changes) for _ in range(SERVERS)]
        self.asleep = self.wall_offset = 0.0
        self.broken: Broken | None = None
        self._loop: Loop | None = None
        self._lines = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_blocking = self._is_ending = False
        self.members = [
            Member(
                number,
                options,
                self.servers[options.server],
                schedule.seed,
                broken=self._break,
                clock=self.now,
            )
            for number, options in enumerate(schedule.options)
        ]
        self.manager = ReconnectManager()
        for number, member in enumerate(self.members):
            needs = ["c0"] if number == 2 else []
            self.manager.register(member.story.name, member.r, depends_on=needs)

    def now(self) -> float:
        """Monotonic seconds."""
        return 0.0 if self._loop is None else self._loop.time()

    def _break(self, invariant: str, detail: str) -> None:
        if self._is_ending:  # nothing is promised to a loop that cancels all there is
            return
        if self.broken is None:
            self.broken = Broken(invariant, detail)
            for member in self.members:
                member.story.note(
                    f"BROKEN {invariant}: {detail}" if detail.startswith(member.story.name) else ""
                )

    def trace(self) -> list[str]:
        """Return one line for everything that has happened, connection by connection."""
        return [
            f"{at:.6f} {member.story.name} {text}"
            for member in self.members
            for at, text in member.story.trace
            if text
        ]

    # -- playing ------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Play the whole schedule.

        Raises:
            Broken: an invariant does not hold.
        """
        genuine = vars(engine)["datetime"]
        vars(engine)["datetime"] = Wall(self)
        try:
            for number, steps in enumerate(lives(self.schedule.steps)):
                self._play_on_a_loop(self._life(list(steps), first=number == 0))
                if steps and steps[-1].act == "next loop":
                    gc.collect()  # what that loop has left unfinished goes now, and not at some later moment
        finally:
            vars(engine)["datetime"] = genuine

    def _play_on_a_loop(self, life: Coroutine[Any, Any, None]) -> None:
        start = self.now()
        try:
            with asyncio.Runner(loop_factory=lambda: self._make_loop(start)) as runner:
                runner.run(life)
        except Deadlock as error:
            self._break("nothing hangs", str(error).splitlines()[0])
        if self.broken is not None:
            raise self.broken

    def _make_loop(self, start: float) -> Loop:
        self._loop = loop = Loop(start=start)
        watch = host_watch.HostWatch(loop, asleep=lambda: self.asleep, listen=lambda: None)
        host_watch.install(loop, watch)
        return loop

    async def _life(self, steps: list[Step], *, first: bool) -> None:
        loop = self._loop
        assert loop is not None
        loop.set_exception_handler(self._complain)
        self._is_ending = False
        self.changes.forget()
        if not first:
            self._start_anew()
            await asyncio.sleep(0)
        loop.on_quiet = self._quiet
        for step in steps:
            if step.act == "next loop":
                loop.on_quiet = None
                self._is_ending = True
                self.cancel_users()
                return
            await asyncio.sleep(max(0.0, step.at - self.now()))
            self._act(step)
        if self.schedule.heals:
            await self._heal()
        await self._end()
        loop.on_quiet = None

    def _act(self, step: Step) -> None:
        for member in self.members:
            member.story.note(f"{step.act} {step.who} {step.args!r}")
        try:
            ACTS[step.act](self, step.who, step.args)
        except UsageError:  # said by a user who does not know how things stand
            pass

    def begin(self, users: list[Any], user: Any, cancel: float | None) -> None:
        """Have a user do something, in a task of its own."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(user.run())
        users.append(user)
        self._tasks.append(task)
        task.add_done_callback(lambda _: users.remove(user))
        task.add_done_callback(self._done)
        user.task = task
        if cancel is not None:
            loop.call_later(cancel, self._cancel, task, user)

    @staticmethod
    def _cancel(task: asyncio.Task[Any], user: Any) -> None:
        if not task.done():
            user.cancelled = True
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.remove(task)
        if not task.cancelled() and task.exception() is not None:
            self._break("users see expected errors only", repr(task.exception()))

    def stall(self, seconds: float) -> None:
        """Block the loop."""
        assert self._loop is not None
        for member in self.members:
            member.story.stalled += seconds
        self._is_blocking = True
        self._loop.stall(seconds)
        self._is_blocking = False
        for member in self.members:
            member.story.stall_ended = self.now()

    def _start_anew(self) -> None:
        """Everything that the last loop has left is started again."""
        for number, member in enumerate(self.members):
            member.forget_loop()
            ACTS["start"](self, number, (False, None))

    def cancel_users(self, *members: Member) -> None:
        """Cancel all that users of some connections wait for; without an argument, of all."""
        for member in members or self.members:
            users: list[Any] = [*member.calls, *member.waiters]
            for user in users:
                self._cancel(user.task, user)

    def _complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "was destroyed" in context.get(
            "message", ""
        ):  # begun while its loop was ending: asyncio forgets it
            return
        self._break("no error is lost", f"{context.get('message')} {context.get('exception')!r}")

    # -- what must hold -----------------------------------------------------------------------------------------------

    def _quiet(self) -> None:
        if self._is_blocking:
            return
        for member in self.members:
            member.check_times()
        lines = sum(len(member.story.trace) for member in self.members)
        if lines != self._lines:
            self._lines = lines
            for member in self.members:
                member.check()
        if self.broken is not None:
            raise self.broken

    async def _heal(self) -> None:
        """All faults end: everything must come up, and stay."""
        for server in self.servers:
            server.heal()
        for member in self.members:
            member.mood, member.is_fresh = "ok", True
            member.connector.manners.clear()
        self.cancel_users()
        await asyncio.sleep(1.0)  # for a callback that stops and starts
        deadlines = [(self._ask_for(number, member), member) for number, member in enumerate(self.members)]
        for deadline, member in sorted(deadlines, key=lambda pair: pair[0]):
            await asyncio.sleep(max(0.0, deadline - self.now()))
            story = member.story
            if story.status is Status.FAILED:  # its last attempts were over before the healing
                ACTS["reconnect"](self, self.members.index(member), (None,))
                await asyncio.sleep(HANDSHAKE)
            story.must(story.live is not None, "it comes up in time", f"{story.status} at {deadline}")
        generations = [member.story.live for member in self.members]
        await asyncio.sleep(2.5 * max(member.story.options.interval for member in self.members))
        for generation, member in zip(generations, self.members, strict=True):
            member.story.must(member.story.live == generation, "no loss without a reason", "in good health")

    def _ask_for(self, number: int, member: Member) -> float:
        """Have a user want the connection; return when it must be up."""
        story, r = member.story, member.r
        wait = 0.0
        if r.status is Status.DISCONNECTED:
            ACTS["start"](self, number, (False, None))
            return self.now() + HANDSHAKE
        if story.paused:
            r.resume()
        if r.status is Status.FAILED:
            ACTS["reconnect"](self, number, (None,))
            return self.now() + HANDSHAKE
        if story.live is not None:
            r.report(EOFError())
            wait = detection(story)
        ACTS["credential"](self, number, (True,))
        if story.due is not None:
            return story.due + HANDSHAKE
        again = story.options.connect_timeout + story.waits.next_longest()
        return self.now() + wait + again + HANDSHAKE

    async def _end(self) -> None:
        """Stop everything as it is: nothing may be left, and nothing may begin any more."""
        began = self.now()
        for member in self.members:
            member.mood = "ok"
        self.cancel_users()
        results = await self.manager.stop_all()
        took = self.now() - began
        bound = STOP_BOUND * 2 + TINY  # two levels of dependencies
        if took > bound or any(results.values()):
            self._break("stop_all() returns in time", f"took {took}: {results}")
        dials = [member.story.counts.get(Kind.ATTEMPT_STARTED, 0) for member in self.members]
        await asyncio.sleep(LINGERING)
        if dials != [member.story.counts.get(Kind.ATTEMPT_STARTED, 0) for member in self.members]:
            self._break("nothing dials after stop()", "")
        self._check_nothing_left()

    def _check_nothing_left(self) -> None:
        assert self._loop is not None
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        timers = [timer for timer in self._loop._scheduled if not timer.cancelled()]
        if tasks or timers or len(wheel_of(self._loop)):
            names = sorted(str(task.get_coro()) for task in tasks)
            self._break("nothing is left", f"tasks {names}, timers {timers}")
        for member in self.members:
            member.story.must(
                all(handle.ended for handle in member.connector.handles), "nothing is left", "open"
            )


def lives(steps: tuple[Step, ...]) -> Iterator[list[Step]]:
    """Cut the steps after each ``next loop``."""
    life: list[Step] = []
    for step in steps:
        life.append(step)
        if step.act == "next loop":
            yield life
            life = []
    yield life
