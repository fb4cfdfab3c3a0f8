"""The report in a real browser: Chromium, driven by Playwright; skipped, with the reason, where one is missing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paper_figures import registry

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 800}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("needs Chromium on the path")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(rendered: Path) -> str:
    return (rendered / "report.html").as_uri()


class Reader:
    """A page that is open, and everything that went wrong in it or left it."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address, self.faults = address, []
        self.context = browser.new_context(
            **{"viewport": DESKTOP, "color_scheme": "light", "reduced_motion": "reduce"} | options
        )
        self.page = self.context.new_page()
        self.page.on("console", lambda one: self.faults.append(one.text) if one.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda one: self._request(one.url))
        self.page.goto(address)

    def _request(self, url: str) -> None:
        if not url.startswith((self.address.partition("#")[0], "data:")):
            self.faults.append(f"asked for {url}")

    def rows(self, shown: bool = True) -> list[str]:
        """The statements that are shown, from top to bottom."""
        return [
            row.get_attribute("id").removeprefix("claim-")
            for row in self.page.locator(".claims tr.head").all()
            if row.is_visible() == shown
        ]


@pytest.fixture
def reader(browser: Any, address: str) -> Iterator[Any]:
    opened: list[Reader] = []

    def open_(fragment: str = "", **options: Any) -> Reader:
        opened.append(Reader(browser, address + fragment, **options))
        return opened[-1]

    yield open_
    for one in opened:
        one.context.close()
        assert one.faults == []


def test_text_and_choices_filter_the_statements_and_are_counted(reader: Any) -> None:
    one = reader()
    form = one.page.locator("#tab_claims form.filter")
    assert form.locator("output").inner_text() == "3 of 3"
    form.get_by_label("Text").fill("MADE-up rate")
    assert one.rows() == ["made-up-rate"] and form.locator("output").inner_text() == "1 of 3"
    form.get_by_role("button", name="Clear").click()
    form.locator("output", has_text="3 of 3").wait_for()
    form.locator("select[name=verdict]").select_option("holds")
    assert one.rows() == ["made-up-bound"]
    form.locator("select[name=kind]").select_option("rate")
    assert one.rows() == [] and form.locator("output").inner_text() == "0 of 3"
    assert one.page.locator(".claims tr.more").filter(visible=True).count() == 0


def test_a_column_sorts_both_ways_and_carries_its_details(reader: Any) -> None:
    one = reader()
    one.page.get_by_role("button", name="measured", exact=True).first.click()
    assert one.rows() == ["made-up-bound", "made-up-rate", "made-up-measurement"], "a dash is last"
    one.page.get_by_role("button", name="measured", exact=True).first.click()
    assert one.rows() == ["made-up-rate", "made-up-bound", "made-up-measurement"], "and stays last"
    assert one.page.locator("th[aria-sort=descending]").count() == 1
    order = one.page.eval_on_selector_all(".claims tbody tr", "rows => rows.map(row => row.id)")
    assert all(after == f"{before}-more" for before, after in zip(order[::2], order[1::2], strict=True))


def test_a_statement_unfolds_by_keyboard_and_by_a_deep_link(reader: Any) -> None:
    one = reader()
    toggle = one.page.get_by_role("button", name="made-up-rate", exact=True)
    assert toggle.get_attribute("aria-expanded") == "false"
    toggle.focus()
    one.page.keyboard.press("Enter")
    assert toggle.get_attribute("aria-expanded") == "true"
    assert "python -m theory check made-up-rate" in one.page.locator("#claim-made-up-rate-more").inner_text()
    linked = reader("#claim-made-up-bound")
    linked.page.wait_for_selector("#claim-made-up-bound-more", state="visible")
    box = linked.page.locator("#claim-made-up-bound").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= DESKTOP["height"]


def test_a_tile_leads_to_its_verdict(reader: Any) -> None:
    one = reader()
    one.page.locator(".tiles a[data-verdict=refuted]").click()
    one.page.locator("#tab_claims output", has_text="1 of 3").wait_for()
    assert one.rows() == ["made-up-rate"]


def ground(one: Any) -> str:
    return one.page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_theme_is_the_systems_until_it_is_chosen_and_then_kept(reader: Any) -> None:
    light, dark = ground(reader()), ground(reader(color_scheme="dark"))
    assert light == "rgb(255, 255, 255)" and dark != light
    one = reader()
    one.page.get_by_role("button", name="Dark theme").click()
    assert ground(one) == dark
    one.page.reload()
    assert ground(one) == dark and one.page.get_by_role("button", name="Light theme").is_visible()
    one.page.get_by_role("button", name="Light theme").click()
    assert ground(one) == light


@pytest.mark.parametrize("size", [PHONE, DESKTOP, {"width": 768, "height": 1024}], ids=lambda size: str(size["width"]))
def test_nothing_is_wider_than_the_screen(reader: Any, size: dict[str, int]) -> None:
    one = reader(viewport=size)
    one.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    one.page.evaluate("document.querySelector('[data-unfold]').click()")
    wide = one.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size["width"]


def test_on_a_phone_figures_come_in_pieces_that_can_be_read(reader: Any) -> None:
    one = reader(viewport=PHONE)
    widths = one.page.eval_on_selector_all(
        ".pieces .panel img", "images => images.map(image => image.getBoundingClientRect().width)"
    )
    inches = one.page.eval_on_selector_all(
        ".pieces .panel img",
        "images => images.map(i => Number(i.closest('.card').firstChild.dataset.inches.split(' ')[0]))",
    )
    assert len(widths) >= 2 * sum(entry.kind == "figure" for entry in registry.select())
    smallest = min(8.5 / 72 * width / inch for width, inch in zip(widths, inches, strict=True))
    assert smallest >= 9.5, f"the ticks' numbers are {smallest:.1f} pixels high"
    assert one.page.locator(".pieces").first.get_attribute("aria-hidden") == "true"


def test_a_figure_is_enlarged_and_the_reader_comes_back(reader: Any) -> None:
    one = reader("#fig_linear")
    button = one.page.locator("#fig_linear .larger")
    button.click()
    large = one.page.locator("#zoom .stage img")
    before = large.bounding_box()["width"]
    one.page.get_by_role("button", name="Larger").click()
    assert large.bounding_box()["width"] > 1.2 * before
    assert one.page.locator("#zoom-title").inner_text() == "Linear model: distance to the solution"
    one.page.keyboard.press("Escape")
    assert not one.page.locator("#zoom").is_visible()
    assert button.evaluate("button => button === document.activeElement")


def test_the_keyboard_reaches_the_text_first_and_its_place_is_seen(reader: Any) -> None:
    one = reader()
    one.page.keyboard.press("Tab")
    assert one.page.evaluate("document.activeElement.className") == "skip"
    one.page.keyboard.press("Tab")
    outline = one.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert one.page.evaluate("document.activeElement.id") == "theme" and outline == "solid"


def test_everything_can_be_read_without_the_script(reader: Any) -> None:
    one = reader(java_script_enabled=False)
    assert one.page.locator("#claim-made-up-rate-more").is_visible()
    assert one.page.locator("#fig_linear figure img").is_visible()
    assert not one.page.locator("form.filter").first.is_visible() and not one.page.locator("#theme").is_visible()


def test_print_has_every_section_and_every_command(reader: Any, tmp_path: Path) -> None:
    one = reader()
    one.page.emulate_media(media="print")
    one.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    shown = one.page.evaluate("document.body.innerText")
    for entry in registry.select():
        assert entry.title in shown and f"python -m paper_figures build {entry.id}" in shown
    assert "python -m theory check made-up-rate" in shown and "copy" not in shown.split("\n")
    assert not one.page.locator("form.filter").first.is_visible() and not one.page.locator("nav").is_visible()
    assert one.page.evaluate("document.documentElement.scrollWidth") <= DESKTOP["width"]
    content = one.page.pdf(prefer_css_page_size=True)
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", content)) > 10
