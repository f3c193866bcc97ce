"""The configuration file: YAML -> frozen settings. The only reader of the environment.

``load`` goes from stage to stage, and from one to the next only if nothing was found: a readable file, UTF-8, YAML,
keys and types, references between the connections, what the drivers refuse. It needs pydantic and ruamel.yaml, which
the extra ``daemon`` brings.

Raises:
    MissingDriver: on import, when one of the two is not installed.
"""

from __future__ import annotations

from tether.errors import MissingDriver

try:
    import pydantic  # noqa: F401
    import ruamel.yaml  # noqa: F401
except ModuleNotFoundError as error:
    needed = {"pydantic": "pydantic", "ruamel": "ruamel.yaml", "ruamel.yaml": "ruamel.yaml"}
    if error.name not in needed:
        raise  # it is there, and one of its own needs is not: that must not be hidden
    raise MissingDriver(needed[error.name], "daemon") from error

from tether.config.drivers import make_reconnector
from tether.config.loading import Loaded, load
from tether.config.models import ApiSettings, RedisSettings, Settings
from tether.config.problem import ConfigFileError, Problem

__all__ = [
    "ApiSettings",
    "ConfigFileError",
    "Loaded",
    "Problem",
    "RedisSettings",
    "Settings",
    "load",
    "make_reconnector",
]
