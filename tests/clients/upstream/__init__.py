"""Registries of every kind of auth, their token servers and a storage, and what each was asked.

All of them are one process, which serves every name by a certificate of its own. Behind each name
of a registry is Debian's docker-registry; what that cannot do (send blobs to a storage, pages of
tags, referrers, telling what credentials it got) is done in front of it."""
