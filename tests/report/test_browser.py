"""The page in a real browser. Skipped where Debian's chromium is not installed."""

import shutil
from itertools import pairwise

import pytest

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, run_folder):
    """Return a function that opens the run's page; at the end nothing may have gone wrong or out."""
    problems, contexts = [], []

    def opened(width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"file://{run_folder / '9-report' / 'index.html'}")
        return page

    requests: list[str] = []
    yield opened
    for context in contexts:
        context.close()
    assert problems == []
    assert all(url.startswith(("file://", "data:")) for url in requests)


def test_tasks_are_picked_by_keyboard(open_page):
    page = open_page()
    name = page.locator("[data-browser] [data-name]")
    assert "t000000" in name.inner_text()
    page.focus("#task-search")
    page.keyboard.press("ArrowDown")
    assert "t000001" in name.inner_text()
    page.keyboard.press("ArrowUp")
    assert "t000000" in name.inner_text()
    page.keyboard.type("t000002")
    assert "t000002" in name.inner_text()
    assert page.locator("[data-browser] [data-place]").inner_text() == "1 of 1 found"
    page.fill("#task-search", "nothing like this")
    assert page.locator("[data-browser] [data-place]").inner_text() == "no task found"


def test_cells_show_test_code_and_outcome(open_page):
    page = open_page()
    cells = page.locator(".matrix td")
    assert cells.count() == 6 * 4
    detail = page.locator("[data-detail]")
    page.locator(".matrix td.o-error").first.hover()
    assert "TypeError" in detail.inner_text()
    page.focus(".matrix td[tabindex='0']")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    first = detail.inner_text()
    assert "assert total(" in first
    assert "Solution s00" in first
    page.keyboard.press("ArrowDown")
    assert detail.inner_text() != first
    page.keyboard.press("Enter")
    kept = detail.inner_text()
    page.locator(".matrix td.o-error").first.hover()
    page.locator("h1").hover()
    assert detail.inner_text() == kept


def test_outcomes_differ_without_colour(open_page):
    page = open_page()
    signs = {
        name: page.locator(f".matrix td.o-{name}").first.inner_text()
        for name in ("passed", "failed", "error", "timeout", "not_loaded")
    }
    assert len(set(signs.values())) == len(signs)


def test_code_is_text_and_never_markup(open_page):
    page = open_page()
    page.on("dialog", lambda dialog: pytest.fail(f"the page ran code of a solution: {dialog.message}"))
    page.locator(".matrix tbody th", has_text="s02").click()
    assert "</script><script>alert(1)</script>" in page.locator("[data-detail]").inner_text()


def test_pairs_are_shown_by_kind_with_what_differs(open_page):
    page = open_page()
    page.get_by_text("Efficiency", exact=False).locator("input").check(force=True)
    assert "times the CPU time" in page.locator("[data-fact]").inner_text()
    assert page.locator("[data-speed] circle").count() > 4
    assert page.locator(".side.rejected .changed").count() > 0
    page.locator("input[value=correctness]").check(force=True)
    assert "scores" in page.locator("[data-fact]").inner_text()
    page.locator("[data-task]").click()
    assert page.locator("[data-browser] [data-name]").inner_text().strip() != ""


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_width_scrolls_sideways(open_page, width):
    page = open_page(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".matrix").is_visible()


def test_dark_follows_the_system_and_the_button_overrides(open_page):
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = open_page(color_scheme="light"), open_page(color_scheme="dark")
    assert light.evaluate(background) != dark.evaluate(background)
    button = dark.locator("[data-theme-toggle]")
    button.click()
    assert dark.evaluate(background) == light.evaluate(background)
    assert button.get_attribute("aria-label") == "Colours: light"


CONTRAST = """() => {
  const parse = (text) => { const [r, g, b, a] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a ?? 1]; };
  const part = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const weak = [];
  for (const node of document.querySelectorAll("main *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest("[disabled], [hidden], .chart") || !node.offsetParent) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push(`${node.className || node.tagName} ${ratio.toFixed(2)}`);
  }
  return [...new Set(weak)];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_level_aa(open_page, scheme):
    assert open_page(color_scheme=scheme).evaluate(CONTRAST) == []


def test_what_can_be_used_has_a_name(open_page):
    page = open_page()
    nameless = """() => [...document.querySelectorAll("button, input, a, select, [role], svg[role]")]
      .filter((node) => !["listbox", "option", "grid", "region"].includes(node.role) || node.role === "grid")
      .filter((node) => !(node.ariaLabel || node.textContent.trim() || node.labels?.length))
      .map((node) => node.outerHTML)"""
    assert page.evaluate(nameless) == []
    headings = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map((node) => Number(node.tagName[1]))"
    )
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_the_page_is_whole_without_script(open_page):
    page = open_page(java_script_enabled=False)
    text = page.locator("main").inner_text()
    assert "drawn by its script, which is switched off" in text
    assert page.locator(".figure svg.chart").count() > 8
    assert "7 no docstring" in " ".join(text.split())
