"""Storage: reconnectors for clients that users already have. Drivers are imported when they are needed, not here."""

from tether.storage.redis.reconnector import RedisReconnector

__all__ = ["RedisReconnector"]
