"""The admin in a real browser, served by the real processes."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import NoChromium, chromium
from tests.browser.pages import PASSWORD, SECONDS, OpenPage, sign_in
from tests.support.stack import MakeStack, Services, Stack

expect.set_options(timeout=SECONDS * 1000)


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, shared_services: Services, template: str) -> Stack:
    stack = make_stack(shared_services, template=template)
    with stack.django():
        User.objects.create_superuser("operator", password=PASSWORD)
    return stack.start()


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    try:
        with chromium() as browser:
            yield browser
    except NoChromium as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="module")
def session(browser: Browser, stack: Stack) -> Iterator[str]:
    """The cookie of a session that is signed in."""
    with browser.new_context(base_url=stack.web_url) as context:
        page = context.new_page()
        sign_in(page)
        yield next(cookie["value"] for cookie in context.cookies() if cookie["name"] == "sessionid")


@pytest.fixture
def open_page(browser: Browser, stack: Stack, session: str) -> Iterator[OpenPage]:
    """Signed in; no page may complain in its console or ask another host for anything."""
    contexts, complaints = [], []

    def open_page(path: str = "/admin/", *, width: int = 1440, theme: str = "light") -> Page:
        context = browser.new_context(
            base_url=stack.web_url,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.add_cookies([{"name": "sessionid", "value": session, "url": stack.web_url}])
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: None if _is_ours(asked.url, stack) else complaints.append(asked.url))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [] == [complaint for complaint in complaints if "ERR_INTERNET_DISCONNECTED" not in complaint]


def _is_ours(url: str, stack: Stack) -> bool:
    return url.startswith((stack.web_url, "data:", "blob:"))
