"""The pure core: signals in, decisions out.

Nothing here waits, reads a clock, rolls dice, logs, or touches a socket. ``now`` (monotonic seconds) and ``rand``
(a callable that returns a float in [0, 1)) are arguments. All durations are float seconds.
"""
