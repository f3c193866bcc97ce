"""``tether run``: a configuration file, its connections, and the API over them, in one process."""
