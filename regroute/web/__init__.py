"""The imperative shell towards HTTP clients: bytes in, bytes out."""
