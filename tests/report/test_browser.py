"""The page in a real browser, without a network: it loads nothing, complains of nothing, fits, and says the numbers."""

import os
import shutil

import left
import left_text
import pytest

from arith_hf import files
from arith_hf.report import page, text_page, worked

driver = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e '.[test]'")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTHS = (390, 1280)  # a phone and a desk

# What reaches past the window, but for what scrolls in a box of its own.
PAST = """() => [...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll, pre")
    && one.getBoundingClientRect().right > innerWidth + 0.5).map(one => one.outerHTML.slice(0, 80))"""
# Words of one drawing that stand on each other.
OVERLAPS = """() => [...document.querySelectorAll("svg")].flatMap(svg => {
    const words = [...svg.querySelectorAll("text")].map(one => [one.textContent, one.getBoundingClientRect()]);
    return words.flatMap(([a, left], at) => words.slice(at + 1).filter(([b, right]) =>
        Math.min(left.right, right.right) - Math.max(left.left, right.left) > 1 &&
        Math.min(left.bottom, right.bottom) - Math.max(left.top, right.top) > 4
    ).map(([b]) => `${svg.getAttribute("aria-label")}: ${a} | ${b}`))})"""
# Words of a drawing that stand outside of its column.
OUTSIDE = """() => [...document.querySelectorAll("svg text")].filter(one => {
    const box = one.getBoundingClientRect(), column = one.closest("figure").getBoundingClientRect();
    return box.left < column.left - 1 || box.right > column.right + 1}).map(one => one.textContent)"""


def installed():
    """A browser of the system, or the one that playwright fetched."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def browser():
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # root has no sandbox to enter
    with driver.sync_playwright() as playwright:
        path = installed() or playwright.chromium.executable_path
        if not os.path.exists(path):
            pytest.skip("no browser: apt-get install chromium, or playwright install chromium")
        yield (browser := playwright.chromium.launch(executable_path=path, args=sandbox))
        browser.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = left.leave(tmp_path_factory.mktemp("checkpoints") / "made")
    files.write_text(folder / "report.html", page.render(folder))
    return folder


@pytest.fixture(scope="module")
def prose(tmp_path_factory):
    folder = left_text.leave(tmp_path_factory.mktemp("checkpoints") / "prose")
    files.write_text(folder / "report.html", text_page.render(folder))
    return folder


@pytest.fixture(params=["made", "prose"])
def any_page(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def look(browser, made):
    """Opens the page offline at a width; what it asks for and complains of is in `heard` at the end."""
    heard, open_ones, asked = [], [], set()

    def at(width, scheme="light", folder=made):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        open_ones.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: heard.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: heard.append(f"error: {error}"))
        shown.on("requestfailed", lambda request: heard.append(f"failed: {request.url}"))
        shown.on("request", lambda request: heard.append(request.url))
        asked.add(f"file://{folder / 'report.html'}")
        shown.goto(f"file://{folder / 'report.html'}")
        for details in shown.locator("details").all():
            details.evaluate("one => one.open = true")
        return shown

    yield at
    for context in open_ones:
        context.close()
    assert set(heard) == asked, "the file itself, and not a word"


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_the_window_and_no_words_stand_on_each_other(look, any_page, width):
    shown = look(width, folder=any_page)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(PAST) == []
    assert shown.evaluate(OVERLAPS) == []
    assert shown.evaluate(OUTSIDE) == []
    smallest = shown.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height))"
    )
    assert smallest >= 10, "pixels that the words of a drawing are high"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_key_figures_are_those_of_the_files(look, made, width):
    shown, last = look(width), files.read_json(made / "grpo/evaluate.json")["protocols"]["nontrivial"]
    assert shown.title() == "made: report"
    assert shown.inner_text("#headline") == f"{last['exact_match']:.1%}"
    assert shown.inner_text("#interval") == " to ".join(f"{one:.1%}" for one in last["exact_match_interval"])
    assert shown.inner_text("#every-step") == f"{last['steps_match']:.1%}"
    drawn = shown.locator("#accuracy figure").all()
    for name, figure in zip(("nontrivial", "seed"), drawn, strict=False):
        scores = [files.read_json(made / stage / "evaluate.json")["protocols"][name] for stage in left.STAGES]
        words = figure.locator("svg text").all_text_contents()
        assert [word for word in words if "." in word] == [f"{one['exact_match']:.1%}" for one in scores]


def test_ten_workings_are_shown_and_every_step_has_the_colour_of_its_mark(look, made):
    shown = look(1280)
    chosen = [worked.shown(row) for row in worked.choose(files.read_jsonl(made / "grpo/samples.jsonl"))]
    assert shown.locator("article").count() == len(chosen) == 10
    colours = {}
    for mark in ("valid", "fault", "follows", "after"):
        steps = shown.locator(f"article li.{mark}")
        assert steps.count() == sum(part["mark"] == mark for one in chosen for part in one["pieces"])
        colours[mark] = {one.evaluate("one => getComputedStyle(one).borderLeftColor") for one in steps.all()}
    assert all(len(colours[mark]) == 1 for mark in ("valid", "fault", "follows"))
    assert len(set.union(*colours.values())) == sum(map(len, colours.values())), "no two marks look alike"


def test_dark_and_light_differ_and_the_words_can_be_read_on_both(look, any_page):
    grounds = {}
    for scheme in ("light", "dark"):
        shown = look(1280, scheme, any_page)
        grounds[scheme] = ground = luminance(
            shown.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        )
        fills = "[...new Set([...document.querySelectorAll('svg text')].map(one => getComputedStyle(one).fill))]"
        inks = [*shown.evaluate(fills), shown.evaluate("getComputedStyle(document.body).color")]
        for ink in map(luminance, inks):
            contrast = (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)
            assert contrast >= 4.5, "the least that WCAG asks of text"
    assert grounds["light"] > 0.9 > 0.1 > grounds["dark"]


def luminance(colour):
    """Relative, as WCAG defines it, of `rgb(r, g, b)`."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
