"""Requests that go on to a registry, and what comes back."""
