"""Pages in Chromium: no message on the console, no request to the network, clouds are drawn and turn."""

import io
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from fabricated import make_run
from ogreid.reporting import write_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium, to see the pages drawn"),
]
on_every_screen = pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])


@pytest.fixture(scope="module")
def playing():
    with sync_playwright() as play:
        yield play


@pytest.fixture(scope="module")
def browser(playing):
    """With WebGL in software."""
    options = ["--no-sandbox", "--enable-unsafe-swiftshader"]
    with playing.chromium.launch(executable_path=BROWSER, args=options) as started:
        yield started


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return write_report(make_run(tmp_path_factory.mktemp("runs") / "market_circle" / "s0", train="market"))


@contextmanager
def opened(browser, path, scheme="light", size=WIDE):
    """A page in a window of that size, which it fills without a message on the console or a request of its own."""
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce", offline=True)
    page, messages, requests = context.new_page(), [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    # Reading the pixels of the software GPU, as the test does, stalls it, which it remarks.
    assert [text for text in messages if "GL Driver Message" not in text] == []
    assert requests == [path.as_uri()]
    context.close()


def cloud(page):
    """Where the canvas shows the red ball and the blue plane behind it, two frames after whatever was done to it."""
    page.wait_for_selector("canvas[data-drawn]")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    screenshot = Image.open(io.BytesIO(page.locator("canvas").screenshot())).convert("RGB")
    red, green, blue = np.asarray(screenshot).astype(int).transpose(2, 0, 1)
    return (red > 180) & (green < 60) & (blue < 60), (blue > 180) & (red < 60) & (green < 60)


def background(page):
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return [float(part) for part in color.removeprefix("rgb(").removesuffix(")").split(",")]


@on_every_screen
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_run_is_shown_on_every_screen(browser, single, scheme, size):
    with opened(browser, single, scheme, size) as page:
        assert all(part.sum() > 3000 for part in cloud(page))
        assert (min(background(page)) > 200) if scheme == "light" else (max(background(page)) < 60)
        table = page.locator("#results table.results")
        assert table.is_visible() and "paper, Table II" in table.inner_text()
        page.locator("#theme").click()
        assert (max(background(page)) < 60) if scheme == "light" else (min(background(page)) > 200)


@pytest.mark.parametrize("width", [500, 760, 840])
def test_a_narrow_page_shows_every_column_of_the_results(browser, single, width):
    with opened(browser, single, size={"width": width, "height": 900}) as page:
        region = page.locator(".scroll:has(table.results)").first
        assert region.evaluate("one => one.scrollWidth - one.clientWidth") == 0


def test_a_cloud_turns_by_mouse_and_by_key_and_comes_nearer(browser, single):
    with opened(browser, single) as page:
        (_, before), box = cloud(page), page.locator("canvas").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 248, y, steps=4)  # the plane is seen from its edge
        page.mouse.up()
        ball, turned = cloud(page)
        assert np.ptp(np.flatnonzero(turned.any(axis=0))) < 0.6 * np.ptp(np.flatnonzero(before.any(axis=0)))
        page.locator("canvas").press("ArrowLeft")
        assert (cloud(page)[1] != turned).any()
        page.mouse.move(x, y)
        page.mouse.wheel(0, -400)
        assert cloud(page)[0].sum() > 1.2 * ball.sum()


def test_without_webgl_the_cloud_is_painted(playing, single):
    options = ["--no-sandbox", "--disable-3d-apis"]
    with playing.chromium.launch(executable_path=BROWSER, args=options) as plain, opened(plain, single) as page:
        assert all(part.sum() > 3000 for part in cloud(page))
        assert page.locator("canvas").get_attribute("data-drawn") == "2d"


@on_every_screen
def test_several_runs_are_shown_on_every_screen(browser, tmp_path, size):
    runs = [make_run(tmp_path / f"demo/k{k}", k=k, level=30 + k, pictures=False) for k in (4, 8, 16)]
    several = write_report(*runs, target=tmp_path / "comparison.html")
    with opened(browser, several, "dark", size) as page:
        assert page.locator("table.results").first.is_visible()
        lines = page.locator("#curves svg").first.locator("path[style*='fill: none'][style*='var(--c']")
        assert lines.count() == 3 and all(line.bounding_box()["width"] > 50 for line in lines.all())
        assert lines.first.evaluate("line => getComputedStyle(line).stroke") == "rgb(92, 200, 207)"  # c0 in the dark
