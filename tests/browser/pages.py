"""An operator's pages: how one is opened, and how the operator signs in."""

from collections.abc import Callable

from playwright.sync_api import Page

SECONDS = 60  # until a page shows what it has to; two refreshes of the first page, and beat's 10 s, take 20
PASSWORD = "only for tests"
OpenPage = Callable[..., Page]


def sign_in(page: Page, password: str = PASSWORD) -> None:
    page.goto("/admin/login/?next=/admin/")
    page.get_by_label("Username").fill("operator")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
