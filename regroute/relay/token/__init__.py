"""Credentials: what registries ask for, what clients get here, and what goes on with a request."""
