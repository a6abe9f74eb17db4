"""The answers, byte for byte, and what no request can do to them."""

import html
import json
import re
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.answers import Answer, api_ok, escaped, redirect, refuse
from regroute.respond import respond_to

from .making import answered, checked

CLIENT = IPv4Address("192.0.2.1")


def fields(answer: Answer) -> dict[bytes, bytes]:
    """An answer's fields by name, none of which it has twice."""
    assert len({name for name, _ in answer.fields}) == len(answer.fields)
    return dict(answer.fields)


def test_the_redirect_of_the_design_byte_for_byte() -> None:
    location = "https://k8s.gcr.io/v2/library/postgres/manifests/12-alpine"
    answer = redirect(location, 302, rule="rest", registry="k8s")
    assert answer.status == 302
    assert answer.fields == (
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Location", b"https://k8s.gcr.io/v2/library/postgres/manifests/12-alpine"),
        (b"Cache-Control", b"private, no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Content-Length", b"78"),
    )
    assert answer.body == (
        b'<a href="https://k8s.gcr.io/v2/library/postgres/manifests/12-alpine">302</a>.\n'
    )
    assert (answer.rule, answer.registry, answer.location) == ("rest", "k8s", location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_text_of_the_page_is_the_status_code(status: int) -> None:
    answer = redirect("https://r.example/", status)
    assert answer.status == status
    assert answer.body == b'<a href="https://r.example/">%d</a>.\n' % status


def test_the_address_in_the_page_is_escaped_as_html() -> None:
    answer = redirect("https://r.example/?a=1&b='2'&lt;", 302)
    assert answer.body == (b'<a href="https://r.example/?a=1&amp;b=&#39;2&#39;&amp;lt;">302</a>.\n')
    assert fields(answer)[b"Location"] == b"https://r.example/?a=1&b='2'&lt;"
    assert b"&lt;b&gt;&#34;" in redirect('https://r.example/<b>"', 302).body


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (b"/v2/a:b@c?d=e&f=g+h#i", "/v2/a:b@c?d=e&f=g+h#i"),
        (b"/!$'()*,;[]~-._", "/!$'()*,;[]~-._"),
        (b"/%5fcatalog%2F%zz%", "/%5fcatalog%2F%zz%"),
        (b'/<a href="x">', "/%3Ca%20href=%22x%22%3E"),
        (b"/a\\b^c`d{e|f}", "/a%5Cb%5Ec%60d%7Be%7Cf%7D"),
        (b"/a\r\nSet-Cookie: b", "/a%0D%0ASet-Cookie:%20b"),
        (b"/\x00\x1f\x7f\x80\xff", "/%00%1F%7F%80%FF"),
        ("/ä€".encode(), "/%C3%A4%E2%82%AC"),
    ],
)
def test_unsafe_bytes_are_escaped_in_upper_case_and_all_others_kept(raw: bytes, sent: str) -> None:
    assert escaped(raw) == sent


@given(st.binary())
def test_escaping_goes_byte_by_byte(raw: bytes) -> None:
    """The naive twin looks at one byte after the other."""
    twin = "".join(
        chr(byte) if 0x20 < byte < 0x7F and chr(byte) not in '<>"\\^{|}`' else f"%{byte:02X}"
        for byte in raw
    )
    assert escaped(raw) == twin
    assert escaped(twin.encode()) == twin, "what is escaped already stays as it is"


REGISTRIES = [
    "https://k8s.gcr.io",
    "http://mirror.example:5000",
    "https://[2001:db8::1]:8443",
    "https://registry.example/team",
]
_RULE_SETS = {url: checked(f"rules: [{{to: '{url}'}}]") for url in REGISTRIES}


def ask(registry: str, target: bytes) -> Answer:
    """The answer to a GET, where every request goes to `registry`."""
    rules = _RULE_SETS[registry].rules
    return answered(respond_to(rules, CLIENT, "GET", target, b"front.example", ""))


targets = st.binary(max_size=60) | st.lists(
    st.sampled_from([b"/", b"//", b"\\", b"@", b":", b"?", b"#", b"%", b"..", b"%2e", b"%2f"])
    | st.sampled_from([b"evil.example", b"http://", b"https:", b":8443", b"/v2/a/tags/list"])
    | st.sampled_from([b"\r\n", b"\n", b"\0", b'"', b"<script>", b"'", b"&#34;", b"[", b"]"])
    | st.binary(max_size=3),
    max_size=10,
).map(b"".join)


@given(st.sampled_from(REGISTRIES), st.booleans(), targets)
@example(REGISTRIES[0], False, b".evil.example/")
@example(REGISTRIES[0], False, b"@evil.example/")
@example(REGISTRIES[0], False, b":8443/")
@example(REGISTRIES[0], False, b"http://evil.example/v2/")
@example(REGISTRIES[1], False, b"//evil.example/")
@example(REGISTRIES[1], False, b"/\\evil.example/")
@example(REGISTRIES[3], False, b"/v2/a/tags/list?@evil.example/")
def test_no_target_changes_the_host_splits_the_answer_or_gets_markup_in(
    registry: str, rooted: bool, target: bytes
) -> None:
    answer = ask(registry, b"/" + target if rooted else target)
    for name, value in answer.fields:
        assert re.fullmatch(rb"[A-Za-z-]+", name)
        assert re.fullmatch(rb"[ -~]*", value)
    assert fields(answer)[b"Content-Length"] == b"%d" % len(answer.body)
    if answer.status == 400:
        assert b"Location" not in fields(answer)
        assert b"<" not in answer.body
        return
    assert answer.status == 302
    location = fields(answer)[b"Location"].decode("ascii")
    origin = urlsplit(registry)
    parts = urlsplit(location)
    assert (parts.scheme, parts.netloc) == (origin.scheme, origin.netloc)
    assert location.startswith(f"{origin.scheme}://{origin.netloc}/")
    assert re.fullmatch(r'[^\x00-\x20<>"\\^`{|}\x7f-\uffff]+', location)
    page = re.fullmatch(rb'<a href="([^<>"\']*)">302</a>\.\n', answer.body)
    assert page is not None
    assert html.unescape(page[1].decode("ascii")) == location


@given(targets.map(lambda target: b"/" + target))
def test_the_location_says_what_the_target_says(target: bytes) -> None:
    answer = ask(REGISTRIES[0], target)
    if answer.location is not None:
        sent = answer.location.removeprefix(REGISTRIES[0])
        assert unquote_to_bytes(sent) == unquote_to_bytes(target)


@given(st.text("abcXYZ0189-._~!$&'()*+,;=:@/?[]#", max_size=30))
def test_safe_bytes_go_on_as_they_came(text: str) -> None:
    answer = ask(REGISTRIES[0], f"/x{text}".encode())
    if answer.status == 302:
        assert answer.location == f"{REGISTRIES[0]}/x{text}"
    else:
        assert {".", ".."} & set(re.split("[?#]", f"/x{text}")[0].split("/"))


CODES = {
    400: "NAME_INVALID",
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "NAME_UNKNOWN",
    405: "UNSUPPORTED",
    410: "NAME_UNKNOWN",
    414: "SIZE_INVALID",
    429: "TOOMANYREQUESTS",
    431: "SIZE_INVALID",
    451: "DENIED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "UNAVAILABLE",
}


def error(answer: Answer) -> dict[str, Any]:
    """The one error of an OCI error body."""
    body = json.loads(answer.body)
    assert list(body) == ["errors"]
    (found,) = body["errors"]
    assert isinstance(found, dict)
    assert list(found) == ["code", "message", "detail"]
    return found


@pytest.mark.parametrize(("status", "code"), CODES.items())
def test_a_refusal_under_v2_has_the_oci_error_body(status: int, code: str) -> None:
    answer = refuse(status, 'no "such" thing', under_v2=True, rule="r")
    assert error(answer)["code"] == code
    assert error(answer)["message"] == 'no "such" thing'
    assert (answer.status, answer.rule, answer.location) == (status, "r", None)
    assert (
        fields(answer).items()
        >= {
            b"Content-Type": b"application/json",
            b"Docker-Distribution-Api-Version": b"registry/2.0",
            b"Cache-Control": b"private, no-store",
            b"X-Content-Type-Options": b"nosniff",
            b"Content-Length": b"%d" % len(answer.body),
        }.items()
    )


@pytest.mark.parametrize("status", CODES)
def test_a_refusal_elsewhere_is_one_line_of_plain_text(status: int) -> None:
    answer = refuse(status, "kein Zutritt für <b>", under_v2=False)
    assert answer.body == "kein Zutritt für <b>\n".encode()
    expected = {
        b"Content-Type": b"text/plain; charset=utf-8",
        b"Cache-Control": b"private, no-store",
        b"X-Content-Type-Options": b"nosniff",
        b"Content-Length": b"%d" % len(answer.body),
    }
    assert fields(answer) == expected | ({b"Allow": b""} if status == 405 else {})


@pytest.mark.parametrize("under_v2", [True, False])
def test_a_405_and_no_other_status_says_what_is_allowed(under_v2: bool) -> None:
    allow = ("GET", "HEAD")
    assert fields(refuse(405, "no", under_v2=under_v2, allow=allow))[b"Allow"] == b"GET, HEAD"
    assert fields(refuse(405, "no", under_v2=under_v2))[b"Allow"] == b""
    assert b"Allow" not in fields(refuse(403, "no", under_v2=under_v2, allow=allow))


@pytest.mark.parametrize("under_v2", [True, False])
def test_the_api_check_is_an_empty_json_object(under_v2: bool) -> None:
    answer = api_ok(under_v2=under_v2, rule="api")
    assert (answer.status, answer.body, answer.rule) == (200, b"{}", "api")
    version = {b"Docker-Distribution-Api-Version": b"registry/2.0"} if under_v2 else {}
    assert fields(answer) == version | {
        b"Content-Type": b"application/json",
        b"Cache-Control": b"private, no-store",
        b"X-Content-Type-Options": b"nosniff",
        b"Content-Length": b"2",
    }


@given(st.text(max_size=40).filter(lambda text: not re.search("[\ud800-\udfff]", text)))
def test_any_message_makes_an_error_body_that_says_it(message: str) -> None:
    answer = refuse(403, message, under_v2=True)
    assert error(answer)["message"] == message
    assert fields(answer)[b"Content-Length"] == b"%d" % len(answer.body)


@pytest.mark.parametrize("target", [b"/v2/..", b"/v2//a", b"/v2/a%2fb", b"http://u@r.example/v2/"])
def test_a_refused_target_under_v2_is_an_invalid_name(target: bytes) -> None:
    assert error(ask(REGISTRIES[0], target))["code"] == "NAME_INVALID"


@pytest.mark.parametrize("target", [b"/..", b"v2/", b"", b"http://u@r.example/"])
def test_a_refused_target_elsewhere_is_told_in_plain_text(target: bytes) -> None:
    answer = ask(REGISTRIES[0], target)
    assert answer.status == 400
    assert fields(answer)[b"Content-Type"] == b"text/plain; charset=utf-8"
    assert answer.body.count(b"\n") == 1
