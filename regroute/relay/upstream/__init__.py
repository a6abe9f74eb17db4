"""Connections to registries: made, kept, asked, and read as strictly as clients are."""
