"""The daemon under a real systemd, which has a machine of its own for as long as the tests run."""
