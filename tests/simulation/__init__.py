"""The whole runtime in a simulated world: ``python -m tests.simulation --seeds 1000``."""
