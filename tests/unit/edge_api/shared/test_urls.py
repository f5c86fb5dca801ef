"""Addresses in the environment: what is one, and no piece of a wrong one in the message."""

import pytest

from edge_api.shared.urls import check_redis_url, check_url, is_origin

WORD, ESCAPED = "s3cret", "%2Fs3cret%23"


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://user:{WORD}@db.example:5432/todos",
        f"postgres://user:{ESCAPED}@db/todos?sslmode=require",
        "postgres://user@one:5432,two:5432/todos",
        "postgres://user@[::1]:5432/todos",
        "postgres:////run/postgresql/todos",
    ],
)
def test_an_address_of_postgresql(url: str) -> None:
    check_url(url, "postgres")


@pytest.mark.parametrize("url", ["redis://redis", f"redis://:{WORD}@127.0.0.1:6379/0", f"rediss://u:{WORD}@h/5?db=1"])
def test_an_address_of_redis(url: str) -> None:
    check_redis_url(url)


@pytest.mark.parametrize(
    "url",
    [
        *("redis://", "redis:///0", "redis://h:0/0", "redis://h:65536/0", f"redis://:{WORD}@h:abc/0"),
        *(
            f"redis://:{password}@h/0"
            for password in ("/s3cret", "12/s3cret", "?s3cret", "s3cret#", "s3cret[", "[s3cret]")
        ),
        *(f"redis://:{WORD}@h/first", "redis:////s3cret", "http://s3cret"),
    ],
)
def test_a_wrong_address_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|is no)") as caught:
        check_redis_url(url)
    assert WORD not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ("https://todo.example", "http://localhost:3000", "http://[::1]:8000")),
        *(
            (f"https://{rest}", False)
            for rest in ("", "*", "*.a.example", "a.example/", "a.example?x=1", "a.example:443")
        ),
        *((f"https://{rest}", False) for rest in ("A.example", "a.example:99999", f"user:{WORD}@a.example")),
        *((text, False) for text in ("todo.example", " https://todo.example", "ftp://todo.example", "*")),
    ],
)
def test_an_origin_is_what_a_browser_sends(text: str, expected: bool) -> None:
    assert expected == is_origin(text)


def test_a_wildcard_is_for_subdomains_and_only_where_it_is_allowed() -> None:
    assert [True, False] == [is_origin(text, wildcard=True) for text in ("https://*.todo.example", "https://*")]
