"""Requests that go on to a registry: with the credentials they need, and the answers to them."""
