"""The one state machine: a signal in; a new link, effects and facts out.

Rules for the reader:

1. :func:`step` is pure. What is to be done comes back as effects, what is to be told as facts; both in order.
2. The status moves only by the table in ``tether.core.lifecycle``.
3. Every signal from a dial, a timer or a connection carries the generation taken when its dial began. A signal of
   another generation is old news: it never tears anything down.
4. Two counters. ``retry_count`` counts failed attempts in a row and is cleared by ``connected``. ``level`` says how far
   the backoff has grown, and is forgotten only after the connection was healthy for ``stable_after``: a server that
   accepts and drops sees ever longer pauses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from tether.core import signals as sig
from tether.core.backoff import Rand
from tether.core.cause import Cause, Code, Recovery
from tether.core.effects import (
    Abandon,
    Adopt,
    CancelDial,
    Dial,
    Effect,
    Probe,
    Release,
    Schedule,
    StopProbing,
    Unschedule,
)
from tether.core.events import Kind
from tether.core.lifecycle import Status, Trigger, target
from tether.core.link import Activity, Fact, Link
from tether.core.schedule import WORTHLESS_AFTER, Plan, Wait, delay_after_failure, delay_after_loss
from tether.errors import IllegalTransition


class Step(NamedTuple):
    """What a signal leads to."""

    link: Link
    effects: tuple[Effect, ...] = ()
    facts: tuple[Fact, ...] = ()


def step(link: Link, signal: sig.Signal, now: float, plan: Plan, rand: Rand) -> Step:
    """Apply one signal.

    Args:
        link: the link as it is.
        signal: what happened.
        now: monotonic seconds.
        plan: how to try again.
        rand: the source of jitter, uniform in [0, 1).

    Returns:
        The new link, and what to do and to tell, in order.

    Raises:
        IllegalTransition: the signal makes no sense now; nothing was changed.
    """
    work = _Work(link, now, plan, rand)
    _HANDLERS[type(signal)](work, signal)
    return Step(work.link, tuple(work.effects), tuple(work.facts))


class _Work:
    """One step under way: the only mutable thing here, and it does not outlive the step."""

    __slots__ = ("effects", "facts", "link", "now", "plan", "rand")

    def __init__(self, link: Link, now: float, plan: Plan, rand: Rand) -> None:
        self.link, self.now, self.plan, self.rand = link, now, plan, rand
        self.effects: list[Effect] = []
        self.facts: list[Fact] = []

    def set(self, **changes: Any) -> None:
        self.link = replace(self.link, **changes)

    def move(self, trigger: Trigger, activity: Activity, **changes: Any) -> None:
        self.set(status=target(self.link.status, trigger), activity=activity, **changes)

    def tell(
        self,
        kind: Kind,
        cause: Cause | None = None,
        delay: float | None = None,
        elapsed: float | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        link = self.link
        self.facts.append(
            Fact(kind, link.status, link.generation, link.retry_count, cause, delay, elapsed, detail)
        )

    def do(self, effect: Effect) -> None:
        self.effects.append(effect)

    def is_current(self, generation: int, activity: Activity) -> bool:
        return generation == self.link.generation and self.link.activity is activity


# -- what several signals share ---------------------------------------------------------------------------------------


def _dial(work: _Work) -> None:
    if work.link.paused:
        work.set(activity=Activity.WAITING, due_at=None)
        return
    work.set(activity=Activity.DIALING, generation=work.link.generation + 1, since=work.now, due_at=None)
    work.tell(Kind.ATTEMPT_STARTED)
    work.do(Dial(work.link.generation, ask_credential=work.link.ask_credential))


def _redial(work: _Work) -> None:
    work.do(Unschedule())
    _dial(work)


def _schedule(work: _Work, wait: Wait) -> None:
    work.set(level=wait.level)
    if work.link.paused:
        return
    down_since = work.now if work.link.down_since is None else work.link.down_since
    work.tell(Kind.RETRY_SCHEDULED, work.link.cause, delay=wait.delay, elapsed=work.now - down_since)
    work.set(due_at=work.now + wait.delay)
    work.do(Schedule(wait.delay, work.link.generation))


def _is_exhausted(work: _Work) -> bool:
    limit = work.plan.max_retries
    return limit is not None and work.link.spent >= limit + work.link.extra


def _give_up(work: _Work, cause: Cause) -> None:
    work.move(Trigger.GIVE_UP, Activity.IDLE, due_at=None)
    work.tell(Kind.GAVE_UP, cause)


def _revive(work: _Work) -> None:
    # A refused credential gets one more attempt, not two: whoever forces it over and over shall not hammer the server.
    work.move(
        Trigger.REVIVE,
        Activity.WAITING,
        spent=0,
        extra=1,
        refusals=min(work.link.refusals, 1),
    )
    work.tell(Kind.REVIVED)
    _dial(work)


def _lose(work: _Work, cause: Cause) -> None:
    link, stable = work.link, work.link.is_stable(work.now, work.plan.stable_after)
    refused = cause.recovery is Recovery.REAUTHENTICATE
    work.do(Abandon(link.generation))
    work.move(
        Trigger.LOSE,
        Activity.WAITING,
        down_since=work.now,
        cause=cause,
        spent=0,
        extra=0,
        level=0 if stable else link.level,
        refusals=(0 if stable else link.refusals) + 1 if refused else 0,
        ask_credential=refused,
        denials=(0 if stable else link.denials) + 1 if refused else 0,
        unstable_losses=0 if stable else link.unstable_losses + 1,
        degraded=False,
    )
    work.tell(Kind.LOST, cause, elapsed=work.now - link.since)


# -- one function per signal ------------------------------------------------------------------------------------------


def _on_start(work: _Work, _: sig.Start) -> None:
    work.move(
        Trigger.START,
        Activity.WAITING,
        retry_count=0,
        spent=0,
        extra=1,
        level=0,
        refusals=0,
        denials=0,
        ask_credential=False,
        was_connected=False,
        paused=False,
        degraded=False,
        unstable_losses=0,
        down_since=work.now,
        cause=None,
    )
    work.tell(Kind.STARTED)
    _dial(work)


def _on_elapsed(work: _Work, signal: sig.Elapsed) -> None:
    if work.is_current(signal.generation, Activity.WAITING) and work.link.due_at is not None:
        _dial(work)


def _on_succeeded(work: _Work, signal: sig.Succeeded) -> None:
    link = work.link
    if not work.is_current(signal.generation, Activity.DIALING):
        if not work.is_current(signal.generation, Activity.LIVE):  # told twice is no reason to drop it
            work.do(Abandon(signal.generation))
        return
    work.move(
        Trigger.CONNECT,
        Activity.LIVE,
        retry_count=0,
        spent=0,
        ask_credential=False,
        credential_worked=True,
        was_connected=True,
        since=work.now,
        down_since=None,
        cause=None,
    )
    work.do(Adopt(signal.generation))
    down = None if link.down_since is None else work.now - link.down_since
    kind = Kind.RECONNECTED if link.was_connected else Kind.CONNECTED
    work.tell(kind, elapsed=down, detail=signal.detail)


def _on_failed(work: _Work, signal: sig.Failed) -> None:
    cause = signal.cause
    if not work.is_current(signal.generation, Activity.DIALING):
        work.tell(Kind.EVIDENCE, cause)
        return
    link = work.link
    refused = cause.recovery is Recovery.REAUTHENTICATE
    work.set(
        activity=Activity.WAITING,
        retry_count=link.retry_count + 1,
        spent=link.spent + (cause.code is not Code.OVERLOADED),
        refusals=link.refusals + refused,
        ask_credential=refused,
        denials=link.denials + refused,
        cause=cause,
    )
    work.tell(Kind.ATTEMPT_FAILED, cause, detail=signal.detail)
    worthless = refused and not link.credential_worked and work.link.refusals >= WORTHLESS_AFTER
    if worthless or cause.recovery is Recovery.NONE or _is_exhausted(work):
        _give_up(work, cause)
        return
    again = link.status is Status.CONNECTING and link.was_connected
    work.move(Trigger.FAIL_AGAIN if again else Trigger.FAIL, Activity.WAITING)
    _schedule(
        work,
        delay_after_failure(
            work.plan,
            cause,
            level=link.level,
            refusals=work.link.refusals,
            denials=work.link.denials,
            started=link.since,
            now=work.now,
            rand=work.rand,
        ),
    )


def _on_lost(work: _Work, signal: sig.Lost) -> None:
    link, cause = work.link, signal.cause
    if not work.is_current(signal.generation, Activity.LIVE):
        work.tell(Kind.EVIDENCE, cause)
        return
    if cause.recovery is Recovery.NONE:
        work.do(Abandon(link.generation))
        work.move(Trigger.END, Activity.IDLE, cause=cause, degraded=False, paused=False)
        work.tell(Kind.LOST, cause, elapsed=work.now - link.since)
        work.tell(Kind.STOPPED, cause)
        return
    stable = link.is_stable(work.now, work.plan.stable_after)
    _lose(work, cause)
    if _is_exhausted(work):
        _give_up(work, cause)
        return
    _schedule(
        work,
        delay_after_loss(
            work.plan,
            cause,
            level=link.level,
            refusals=work.link.refusals,
            denials=work.link.denials,
            stable=stable,
            now=work.now,
            rand=work.rand,
        ),
    )


def _on_force(work: _Work, _: sig.Force) -> None:
    link = work.link
    if link.status is Status.DISCONNECTED:
        raise IllegalTransition("a connection that is not started cannot reconnect; call start() first")
    if link.paused:
        raise IllegalTransition("a connection that is paused cannot reconnect; call resume() first")
    if link.status is Status.FAILED:
        _revive(work)
    elif link.activity is Activity.WAITING:
        _redial(work)
    elif link.activity is Activity.LIVE:
        _lose(work, Cause(Code.CLOSED, detail="forced"))
        _dial(work)


def _on_network_changed(work: _Work, _: sig.NetworkChanged) -> None:
    link = work.link
    if link.paused:
        return
    if link.activity is Activity.LIVE:
        work.do(Probe())
    elif link.status is Status.FAILED and not _is_refused(link):
        _revive(work)
    elif link.due_at is not None and _may_be_cut_short(link, work.now):
        _redial(work)


def _on_credential_changed(work: _Work, _: sig.CredentialChanged) -> None:
    link = work.link
    # While dialing it is the provider's own answer: a provider of ever new, ever refused ones must not hammer.
    denials = link.denials if link.activity is Activity.DIALING else 0
    work.set(refusals=0, denials=denials, ask_credential=False, credential_worked=False)
    if link.paused:
        return
    if link.status is Status.FAILED:
        _revive(work)
    elif link.due_at is not None and _is_refused(link):
        _redial(work)


def _on_call_succeeded(work: _Work, _: sig.CallSucceeded) -> None:
    if work.link.status is Status.FAILED and not work.link.paused:
        _revive(work)


def _is_refused(link: Link) -> bool:
    return link.cause is not None and link.cause.recovery is Recovery.REAUTHENTICATE


def _may_be_cut_short(link: Link, now: float) -> bool:
    """Whether good news from the network may end the wait: not when the peer itself set the time."""
    cause = link.cause
    if cause is None:
        return True
    hinted = cause.hint is not None and cause.hint.not_before > now
    return not hinted and cause.recovery not in {Recovery.REAUTHENTICATE, Recovery.WAIT_FOR_SERVICE}


def _on_pause(work: _Work, _: sig.Pause) -> None:
    link = work.link
    if link.status is Status.DISCONNECTED:
        raise IllegalTransition("a connection that is not started cannot be paused; call start() first")
    if link.paused:
        return
    work.set(paused=True, due_at=None)
    if link.activity is Activity.DIALING:
        work.set(activity=Activity.WAITING)
        work.do(CancelDial(link.generation))
    elif link.activity is Activity.WAITING:
        work.do(Unschedule())
    elif link.activity is Activity.LIVE:
        work.do(StopProbing())
    work.tell(Kind.PAUSED)


def _on_resume(work: _Work, _: sig.Resume) -> None:
    link = work.link
    if not link.paused:
        return
    work.set(paused=False)
    work.tell(Kind.RESUMED)
    hint = link.cause.hint if link.cause is not None else None
    if link.activity is Activity.WAITING and hint is not None and hint.not_before > work.now:
        _schedule(work, Wait(hint.delay(work.now, work.rand()), link.level))  # never earlier than asked
    elif link.activity is Activity.WAITING:
        _dial(work)
    elif link.activity is Activity.LIVE:
        work.do(Probe())


def _on_restored(work: _Work, signal: sig.Restored) -> None:
    degraded = signal.missing > 0
    if not work.is_current(signal.generation, Activity.LIVE) or degraded is work.link.degraded:
        return
    work.set(degraded=degraded)
    work.tell(Kind.DEGRADED if degraded else Kind.RECOVERED)


def _on_stop(work: _Work, _: sig.Stop) -> None:
    link = work.link
    if link.status is Status.DISCONNECTED:
        return
    if link.activity is Activity.DIALING:
        work.do(CancelDial(link.generation))
    elif link.activity is Activity.WAITING:
        work.do(Unschedule())
    elif link.activity is Activity.LIVE:
        work.do(Release(link.generation))
    work.move(Trigger.STOP, Activity.IDLE, due_at=None, paused=False, degraded=False)
    work.tell(Kind.STOPPED)


_HANDLERS: Mapping[type, Callable[[_Work, Any], None]] = {
    sig.Start: _on_start,
    sig.Elapsed: _on_elapsed,
    sig.Succeeded: _on_succeeded,
    sig.Failed: _on_failed,
    sig.Lost: _on_lost,
    sig.Force: _on_force,
    sig.NetworkChanged: _on_network_changed,
    sig.CredentialChanged: _on_credential_changed,
    sig.CallSucceeded: _on_call_succeeded,
    sig.Pause: _on_pause,
    sig.Resume: _on_resume,
    sig.Restored: _on_restored,
    sig.Stop: _on_stop,
}
