"""Processes that share the listening sockets."""
