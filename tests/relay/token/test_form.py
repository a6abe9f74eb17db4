"""What is asked of the token endpoint, by query and by form."""

from base64 import b64encode
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.answers import Reason, Refusal
from regroute.registry import Account
from regroute.relay.token.credentials import basic
from regroute.relay.token.form import LONGEST_BODY, TokenRequest, read_request
from regroute.relay.token.scope import parse_scopes

FORM = "application/x-www-form-urlencoded"
PULL = parse_scopes(["repository:a/b:pull"])


def read(
    method: str = "GET",
    target: str = "/token",
    authorization: tuple[str, ...] = (),
    content_type: tuple[str, ...] = (FORM,),
    body: str | bytes = b"",
) -> TokenRequest:
    """The request, of its parts as they come."""
    return read_request(
        method,
        target.encode(),
        [line.encode("latin-1") for line in authorization],
        [line.encode() for line in content_type],
        body.encode() if isinstance(body, str) else body,
    )


def basic_of(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return "Basic " + b64encode(raw).decode()


@pytest.mark.parametrize(
    ("target", "request_"),
    [
        ("/token", TokenRequest()),
        ("/token?service=x&client_id=docker", TokenRequest()),
        ("/token?scope=repository%3Aa%2Fb%3Apull", TokenRequest(PULL)),
        ("/token?scope=repository:a/b:pull#x", TokenRequest(PULL)),
        ("http://r.example/token?scope=repository:a/b:pull", TokenRequest(PULL)),
        (
            "/token?scope=repository:a:pull+repository:b:pull&scope=repository:a:push",
            TokenRequest(parse_scopes(["repository:a:pull,push repository:b:pull"])),
        ),
        ("/token?offline_token=true&account=u", TokenRequest(offline=True)),
        ("/token?offline_token=false&scope=", TokenRequest()),
        ("/token?ns=docker.io", TokenRequest(namespace="docker.io")),
    ],
)
def test_a_query_is_read(target: str, request_: TokenRequest) -> None:
    assert read(target=target) == request_


@pytest.mark.parametrize(
    ("authorization", "account"),
    [
        ((), None),
        (("Bearer x",), None),
        (("Negotiate x",), None),
        ((basic_of("u:p"),), Account("u", "p")),
        (("bASIC  dTpw ",), Account("u", "p")),
        ((basic_of("u:p:q"),), Account("u", "p:q")),
        ((basic_of("u:"),), Account("u", "")),
        ((basic_of(":"),), Account("", "")),
        ((basic_of("ü:ß"),), Account("ü", "ß")),
    ],
)
def test_a_password_comes_by_basic(authorization: tuple[str, ...], account: Account | None) -> None:
    assert read(authorization=authorization) == TokenRequest(account=account)


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_a_password_goes_on_byte_for_byte(username: bytes, password: bytes) -> None:
    """Whatever its encoding; what is no password is refused."""
    raw = username + b":" + password
    may_be = not any(byte < 0x20 or byte == 0x7F for byte in raw)
    try:
        account = read(authorization=(basic_of(raw),)).account
    except Refusal:
        assert not may_be
    else:
        assert may_be
        assert account is not None
        assert basic(account).decode() == basic_of(raw)


@pytest.mark.parametrize(
    ("fields", "request_"),
    [
        (
            {"grant_type": "password", "username": "u", "password": "p & q"},
            TokenRequest(account=Account("u", "p & q")),
        ),
        (
            {"grant_type": "password", "username": "u", "password": "", "access_type": "offline"},
            TokenRequest(account=Account("u", ""), offline=True),
        ),
        (
            {
                "grant_type": "refresh_token",
                "refresh_token": "r",
                "service": "x",
                "client_id": "y",
                "scope": "repository:a/b:pull",
            },
            TokenRequest(PULL, refresh_token="r"),
        ),
    ],
)
def test_a_form_is_read(fields: dict[str, str], request_: TokenRequest) -> None:
    body = urlencode(fields)
    assert read("POST", body=body) == request_
    assert read("POST", body=body, content_type=(f"{FORM.upper()} ; charset=utf-8",)) == request_


def test_a_form_may_ask_for_several_scopes_and_by_a_mirror() -> None:
    body = "grant_type=refresh_token&refresh_token=r&scope=repository:a/b:pull&scope="
    assert read("POST", "/token?ns=docker.io", body=body) == TokenRequest(
        PULL, refresh_token="r", namespace="docker.io"
    )


PASSWORD = "grant_type=password&username=u&password=p"


@pytest.mark.parametrize(
    ("status", "method", "target", "authorization", "content_type", "body"),
    [
        (405, "HEAD", "/token", (), (), ""),
        (405, "PUT", "/token", (), (FORM,), PASSWORD),
        (400, "GET", "/token?scope=garbage", (), (), ""),
        (400, "GET", "/token?scope=%zz", (), (), ""),
        (400, "GET", "/token?scope=%", (), (), ""),
        (400, "GET", "/token?scope=%ff", (), (), ""),
        (400, "GET", "/token?" + "&".join("a=b" for _ in range(101)), (), (), ""),
        (400, "GET", "/token", ("Basic !",), (), ""),
        (400, "GET", "/token", ("Basic",), (), ""),
        (400, "GET", "/token", (basic_of("u"),), (), ""),
        (400, "GET", "/token", (basic_of("u\n:p"),), (), ""),
        (400, "GET", "/token", (basic_of("u:p\0"),), (), ""),
        (400, "GET", "/token", (basic_of("u:p"), basic_of("u:p")), (), ""),
        (400, "POST", "/token", (), (), PASSWORD),
        (400, "POST", "/token", (), ("application/json",), PASSWORD),
        (400, "POST", "/token", (), (FORM, FORM), PASSWORD),
        (400, "POST", "/token", (), (FORM,), ""),
        (400, "POST", "/token", (), (FORM,), "username=u&password=p"),
        (400, "POST", "/token", (), (FORM,), PASSWORD.replace("=password", "=implicit", 1)),
        (400, "POST", "/token", (), (FORM,), "grant_type=password&username=u"),
        (400, "POST", "/token", (), (FORM,), "grant_type=password&username=&password=p"),
        (400, "POST", "/token", (), (FORM,), "grant_type=password&username=a:b&password=p"),
        (400, "POST", "/token", (), (FORM,), "grant_type=password&username=a%0a&password=p"),
        (400, "POST", "/token", (), (FORM,), "grant_type=refresh_token"),
        (400, "POST", "/token", (), (FORM,), "grant_type=refresh_token&refresh_token="),
        (400, "POST", "/token", (), (FORM,), PASSWORD + "&password=q"),
        (400, "POST", "/token", (), (FORM,), PASSWORD + "&x=%ff"),
        (400, "POST", "/token", (), (FORM,), PASSWORD + "&x=ä"),
        (400, "POST", "/token", (), (FORM,), PASSWORD + "&scope=garbage"),
        (413, "POST", "/token", (), (FORM,), PASSWORD + "&x=" + "y" * LONGEST_BODY),
        (400, "GET", "/token/../x", (), (), ""),
    ],
)
def test_what_is_no_request_is_refused(
    status: int,
    method: str,
    target: str,
    authorization: tuple[str, ...],
    content_type: tuple[str, ...],
    body: str,
) -> None:
    with pytest.raises(Refusal) as refusal:
        read(method, target, authorization, content_type, body)
    assert refusal.value.status == status
    assert refusal.value.reason in (Reason.TOKEN, Reason.PATH)


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(texts.filter(lambda text: ":" not in text), texts)
def test_a_form_is_read_as_it_is_encoded(username: str, password: str) -> None:
    for encode in (quote_plus, lambda text: "".join(f"%{byte:02x}" for byte in text.encode())):
        body = f"grant_type=password&username={encode(username)}&password={encode(password)}"
        assert read("POST", body=body).account == Account(username, password)


@given(st.binary(max_size=60))
def test_any_body_is_a_request_or_refused(body: bytes) -> None:
    """And no refusal tells of a password."""
    try:
        read("POST", body=b"grant_type=password&username=u&password=s3cret" + body)
    except Refusal as refusal:
        assert "s3cret" not in str(refusal)  # noqa: PT017  # it need not be refused


def test_secrets_are_not_shown() -> None:
    asked = TokenRequest(account=Account("u", "s3cret"), refresh_token="s3cret")
    assert "s3cret" not in repr(asked)
