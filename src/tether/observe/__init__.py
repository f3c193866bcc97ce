"""Subscribers of events: logs and history. They never call back."""
