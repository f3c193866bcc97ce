"""Redis and Valkey, by redis-py's asyncio client."""
