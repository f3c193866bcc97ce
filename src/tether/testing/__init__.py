"""For tests of what is built on tether: a virtual clock, a scripted connector, real servers to kill and freeze.

None of it needs an extra.
"""

from tether.testing.clock import Deadlock, VirtualTimeLoop, run_virtual
from tether.testing.contract import RecordingAttempt, check_connector
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector
from tether.testing.servers import (
    PortTaken,
    RedisServer,
    ServerFailed,
    ServerMissing,
    ServerProcess,
    find_redis,
)
from tether.testing.tcp import (
    BacklogServer,
    FlappingServer,
    MuteServer,
    free_port,
    port_is_free,
    refused_port,
)

__all__ = [
    "Accept",
    "BacklogServer",
    "Deadlock",
    "FlappingServer",
    "Hang",
    "MuteServer",
    "PortTaken",
    "RecordingAttempt",
    "RedisServer",
    "ScriptedConnection",
    "ScriptedConnector",
    "ServerFailed",
    "ServerMissing",
    "ServerProcess",
    "VirtualTimeLoop",
    "check_connector",
    "find_redis",
    "free_port",
    "port_is_free",
    "refused_port",
    "run_virtual",
]
