"""For tests of what is built on tether: a fault proxy, a virtual clock, real servers to kill and freeze.

None of it needs an extra.
"""

from tether.testing.blackhole import Blackhole, BlackholeUnavailable
from tether.testing.clock import Deadlock, VirtualTimeLoop, run_virtual
from tether.testing.contract import RecordingAttempt, check_connector
from tether.testing.proxy import (
    Bandwidth,
    FaultProxy,
    Latency,
    LimitData,
    Placed,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
    ToxicError,
    handshake_cuts,
)
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
    "Bandwidth",
    "Blackhole",
    "BlackholeUnavailable",
    "Deadlock",
    "FaultProxy",
    "FlappingServer",
    "Hang",
    "Latency",
    "LimitData",
    "MuteServer",
    "Placed",
    "PortTaken",
    "RecordingAttempt",
    "RedisServer",
    "ResetPeer",
    "ScriptedConnection",
    "ScriptedConnector",
    "ServerFailed",
    "ServerMissing",
    "ServerProcess",
    "Slicer",
    "SlowClose",
    "Timeout",
    "Toxic",
    "ToxicError",
    "VirtualTimeLoop",
    "check_connector",
    "find_redis",
    "free_port",
    "handshake_cuts",
    "port_is_free",
    "refused_port",
    "run_virtual",
]
