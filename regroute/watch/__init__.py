"""Reloading when a file changes."""
