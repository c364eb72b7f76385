import pytest

from data_schemas.errors import UserError
from harp.serving.access import TOKEN_VARIABLE, is_allowed, read_token
from harp.serving.listener import bind, is_local, url_of


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        (["Api-Key s3cret"], True),
        (["Bearer s3cret"], True),
        (["bearer  s3cret "], True),
        (["Basic s3cret"], False),
        (["s3cret"], False),
        (["Api-Key s3cre"], False),
        (["Api-Key s3crets"], False),
        (["Api-Key s3cr\udcc3\udca9t"], False),
        (["Api-Key "], False),
        (["Api-Key s3cret", "Api-Key s3cret"], False),
        ([], False),
    ],
)
def test_only_the_token_opens(headers, allowed):
    assert is_allowed(headers, "s3cret") is allowed
    assert is_allowed(headers, None)


def test_the_token_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token() is None
    monkeypatch.setenv(TOKEN_VARIABLE, "s3cret")
    assert read_token() == "s3cret"


@pytest.mark.parametrize("token", ["", "two words", "line\n", "schlüssel"])
def test_an_unusable_token_lets_nobody_in_by_accident(monkeypatch, token):
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(UserError, match=TOKEN_VARIABLE):
        read_token()


def test_a_taken_port_and_a_foreign_address_are_one_sentence():
    with bind("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        assert url_of(first) == f"127.0.0.1:{port}"
        assert is_local(first)
        with pytest.raises(UserError, match=f"Cannot listen on 127.0.0.1:{port}"):
            bind("127.0.0.1", port)
    with pytest.raises(UserError, match="--host"):
        bind("192.0.2.1", 0)
    with bind("0.0.0.0", 0) as open_to_all:
        assert not is_local(open_to_all)
