"""Reading answers as a careful client does: whatever is not framed exactly is an error."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [ -~]+")
_FIELD_LINE = re.compile(rb"([A-Za-z0-9-]+): ([ -~]*)")


@dataclass(frozen=True)
class Received:
    """One answer; names of fields are in lower case."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def field(self, name: bytes) -> bytes | None:
        """The value of the only field with this name; None where it is not sent."""
        values = [value for key, value in self.fields if key == name]
        assert len(values) <= 1, f"{name!r} is sent more than once"
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        """Whether it says that the connection ends."""
        return self.field(b"connection") == b"close"


def read_answers(raw: bytes, methods: Sequence[bytes] = ()) -> list[Received]:
    """All answers in `raw`, which ends where the last one does.

    `methods` are those of the requests in their order; answers to HEAD have no body. Requests
    beyond them are taken for GET. Interim answers (1xx) are left out.
    """
    answers: list[Received] = []
    while raw:
        head, separator, raw = raw.partition(b"\r\n\r\n")
        assert separator, f"an answer's head has no end: {head!r}"
        status_line, *lines = head.split(b"\r\n")
        status = _STATUS_LINE.fullmatch(status_line)
        assert status, f"no status line: {status_line!r}"
        fields = [_FIELD_LINE.fullmatch(line) for line in lines]
        assert all(fields), f"a field is malformed: {lines!r}"
        pairs = tuple((match[1].lower(), match[2]) for match in fields if match)
        if status[1].startswith(b"1"):
            continue
        answer = Received(int(status[1]), pairs, b"")
        length = int(answer.field(b"content-length") or b"")
        if len(answers) >= len(methods) or methods[len(answers)] != b"HEAD":
            assert len(raw) >= length, "an answer's body is cut off"
            answer, raw = Received(answer.status, pairs, raw[:length]), raw[length:]
        answers.append(answer)
    return answers
