"""The one runtime: asyncio, interpreting the pure core's effects.

There is one reconnect loop in tether, and it is ``engine.py``.
"""
