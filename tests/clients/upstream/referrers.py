"""Which manifests refer to which: what docker-registry 2.8 does not keep."""

import hashlib
import json
from typing import Any


class Referrers:
    """Descriptors of manifests by what they have as their subject, in memory."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}

    def note(self, repository: str, media_type: str, manifest: bytes) -> str | None:
        """Take note of a manifest that was put; the digest of its subject, if it has one."""
        content = json.loads(manifest)
        subject = content.get("subject")
        if subject is None:
            return None
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        described = {
            "mediaType": media_type,
            "digest": digest,
            "size": len(manifest),
            "artifactType": content.get("artifactType") or content["config"]["mediaType"],
            "annotations": content.get("annotations", {}),
        }
        self._known.setdefault((repository, subject["digest"]), {})[digest] = described
        return str(subject["digest"])

    def of(self, repository: str, digest: str) -> dict[str, dict[str, Any]]:
        """The descriptors of all that refer to a manifest, by their digests in order."""
        return dict(sorted(self._known.get((repository, digest), {}).items()))
