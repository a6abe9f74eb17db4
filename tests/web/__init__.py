"""The shell towards clients: bytes in, bytes out."""
