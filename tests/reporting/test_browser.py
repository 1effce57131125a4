"""Pages in Chromium: no message on the console, no request to the network, clouds are drawn and turn."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from fabricated import make_run
from ogreid.reporting import write_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium, to see the pages drawn"),
]

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def playing():
    with sync_playwright() as play:
        yield play


@pytest.fixture(scope="module")
def browser(playing):
    """With WebGL in software."""
    with playing.chromium.launch(
        executable_path=BROWSER, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
    ) as started:
        yield started


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return write_report(make_run(tmp_path_factory.mktemp("runs") / "market_circle" / "s0", train="market"))


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    runs = [make_run(place / f"made/k{k}", k=k, level=30 + k, pictures=False) for k in (4, 8, 16)]
    return write_report(*runs, target=place / "comparison.html")


class Opened:
    """A page in a browser window, with the messages of its console and the requests it made."""

    def __init__(self, browser, path, scheme="light", size=None):
        self.context = browser.new_context(
            viewport=size or WIDE, color_scheme=scheme, reduced_motion="reduce", offline=True
        )
        self.page, self.messages, self.requests = self.context.new_page(), [], []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def problems(self):
        """Without the software GPU's remark that reading its pixels stalls it, which the test does."""
        return [text for text in self.messages if "GL Driver Message" not in text]

    def cloud(self):
        """Pixels of the canvas (H, W, 3) once it is drawn, two frames after whatever was done to it."""
        self.page.wait_for_selector("canvas[data-drawn]")
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return pixels(self.page.locator("canvas").screenshot())

    def background(self):
        """Color of the page itself, 0 to 255."""
        color = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [float(part) for part in color.removeprefix("rgb(").removesuffix(")").split(",")]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def red_and_blue(image):
    """Where the red ball is, and the blue plane behind it."""
    red = (image[..., 0] > 180) & (image[..., 1] < 60) & (image[..., 2] < 60)
    blue = (image[..., 2] > 180) & (image[..., 0] < 60) & (image[..., 1] < 60)
    return red, blue


def colored(image):
    """How many pixels are of the ball and of the plane."""
    return tuple(int(where.sum()) for where in red_and_blue(image))


def width(image):
    """Of the plane, in pixels."""
    return np.ptp(np.flatnonzero(red_and_blue(image)[1].any(axis=0)))


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_run_is_shown_on_every_screen(browser, single, scheme, size):
    with Opened(browser, single, scheme, size) as opened:
        red, blue = colored(opened.cloud())
        assert red > 3000 and blue > 3000
        assert (min(opened.background()) > 200) if scheme == "light" else (max(opened.background()) < 60)
        table = opened.page.locator("#results table.results")
        assert table.is_visible() and "paper, Table II" in table.inner_text()
        assert opened.page.evaluate("document.documentElement.scrollWidth") == size["width"]
        assert opened.problems() == [] and opened.requests == [single.as_uri()]


def test_a_cloud_turns_by_mouse_and_by_key_and_comes_nearer(browser, single):
    with Opened(browser, single) as opened:
        before, box = opened.cloud(), opened.page.locator("canvas").bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        opened.page.mouse.move(*middle)
        opened.page.mouse.down()
        opened.page.mouse.move(middle[0] + 248, middle[1], steps=4)  # the plane is seen from its edge
        opened.page.mouse.up()
        turned = opened.cloud()
        assert width(turned) < 0.6 * width(before)
        opened.page.locator("canvas").press("ArrowLeft")
        assert (opened.cloud() != turned).any()
        opened.page.mouse.move(*middle)
        opened.page.mouse.wheel(0, -400)
        assert colored(opened.cloud())[0] > 1.2 * colored(turned)[0]
        assert opened.problems() == []


def test_the_button_changes_between_light_and_dark(browser, single):
    with Opened(browser, single) as opened:
        opened.page.locator("#theme").click()
        assert max(opened.background()) < 60


def test_without_webgl_the_cloud_is_painted(playing, single):
    with (
        playing.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-3d-apis"]) as plain,
        Opened(plain, single) as opened,
    ):
        red, blue = colored(opened.cloud())
        assert red > 3000 and blue > 3000
        assert opened.page.locator("canvas").get_attribute("data-drawn") == "2d"
        assert opened.problems() == []


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_several_runs_are_shown_on_every_screen(browser, several, size):
    with Opened(browser, several, "dark", size) as opened:
        assert opened.page.locator("table.results").first.is_visible()
        lines = opened.page.locator("#curves svg").first.locator("path[style*='fill: none'][style*='var(--c']")
        assert lines.count() == 3 and all(line.bounding_box()["width"] > 50 for line in lines.all())
        assert lines.first.evaluate("line => getComputedStyle(line).stroke") == "rgb(92, 200, 207)"  # c0 in the dark
        assert opened.page.evaluate("document.documentElement.scrollWidth") == size["width"]
        assert opened.problems() == [] and opened.requests == [several.as_uri()]
