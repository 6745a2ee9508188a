"""In a real browser: notebooks run in JupyterLab, sliders, keys and clicks change what is seen and what is kept."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toys

from motors.pipeline.graph import Step, steps
from motors.workspace import paths

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with its chromedriver is installed"),
]
TOKEN = "a1b2c3"
FLAGS = (
    "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    " disable-component-update disable-sync window-size=1400,1700"
)
VIEWER = """
import numpy as np
from motors.visualization.viewer import browse
from motors.volumes.tomogram import Tomogram
z, y, x = np.ogrid[:40, :60, :80]
voxels = (90 + z + y // 2 + 70 * ((z - 20) ** 2 + (y - 31) ** 2 + (x - 44) ** 2 < 60)).astype(np.uint8)
view = browse(Tomogram("toy", voxels, 30.0), [(20, 31, 44)], [(8, 10, 12)], (voxels[::8, ::8, ::8] > 150) * 1.0)
view
"""
CHARTS = """
from motors.visualization import plots
plots.inline()
chart, photograph = plots.panels(1)[1][0], plots.panels(1)[1][0]
plots.curve(chart, [1, 2], [3, 4], xlabel="x", ylabel="y")
plots.slice_image(photograph, voxels[20], 30.0);
"""


def notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    written = [
        {"cell_type": "code", "id": f"c{k}", "metadata": {}, "source": cell, "outputs": [], "execution_count": None}
        for k, cell in enumerate(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": written, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """JupyterLab with a token on this machine only, and the folder that it serves."""
    root = tmp_path_factory.mktemp("lab")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = {name: str(root / ".jupyter") for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    options = {"ServerApp.ip": "127.0.0.1", "ServerApp.port": port, "ServerApp.port_retries": 0}
    options |= {"ServerApp.root_dir": root, "ServerApp.allow_root": True, "IdentityProvider.token": TOKEN}
    options |= {"LabApp.expose_app_in_browser": True, "LabApp.app_settings_dir": root, "ServerApp.open_browser": False}
    quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    (root / "overrides.json").write_text(json.dumps(quiet))
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]
    paths = os.pathsep.join([str(toys.REPOSITORY / "lib"), os.environ.get("PYTHONPATH", "")])
    with open(root / "lab.log", "w", encoding="utf-8") as log:
        environment = {**os.environ, **home, "PYTHONPATH": paths}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api/status?token={TOKEN}", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, (root / "lab.log").read_text()
                time.sleep(0.25)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{address}/api/contents", timeout=10)
        yield address, root
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[object]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


class Page:
    """A notebook that is open in the browser."""

    def __init__(self, browser, server: tuple[str, Path], name: str, shots: Path) -> None:
        self.browser, self.shots = browser, shots
        browser.get(f"{server[0]}/lab/tree/{name}?token={TOKEN}&reset")
        self.until("return window.jupyterapp && document.querySelectorAll('.jp-CodeCell').length")
        kernel = "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel"
        self.until(f"return {kernel}?.status == 'idle' && {kernel}.connectionStatus == 'connected'")
        self.command("notebook:run-all-cells")

    def command(self, name: str) -> None:
        """Let JupyterLab do something."""
        script = f"const done = arguments[0]; window.jupyterapp.commands.execute('{name}').then(() => done(1), done)"
        self.browser.execute_async_script(script)

    def until(self, script: str, seconds: float = 40) -> object:
        """Wait for a script's answer to be true, and return it."""
        end = time.monotonic() + seconds
        while not (answer := self.browser.execute_script(script)):
            if time.monotonic() > end:
                self.shot("failed")
                raise AssertionError(f"never true: {script}")
            time.sleep(0.1)
        return answer

    def find(self, selector: str, number: int = 0):
        """Return an element by its CSS selector, as soon as it has a size."""
        sized = f"document.querySelectorAll(`{selector}`)[{number}]?.getBoundingClientRect().height > 3"
        self.until(f"return {sized}")
        return self.browser.find_elements("css selector", selector)[number]

    def pixels(self, selector: str) -> np.ndarray:
        """What an element looks like."""
        import PIL.Image

        image = PIL.Image.open(io.BytesIO(self.find(selector).screenshot_as_png))
        return np.asarray(image.convert("RGB"), float)

    def changed(self, selector: str, before: np.ndarray, seconds: float = 15) -> np.ndarray:
        """Wait until an element looks otherwise, and return how."""
        end = time.monotonic() + seconds
        while (now := self.pixels(selector)).shape == before.shape and np.abs(now - before).max() < 20:
            assert time.monotonic() < end, f"{selector} looks as before"
            time.sleep(0.1)
        return now

    def shot(self, name: str) -> None:
        """Keep a picture of the page."""
        self.browser.save_screenshot(str(self.shots / f"{name}.png"))

    def press(self, element, *keys: str) -> None:
        """Press keys with the focus on an element."""
        self.browser.execute_script("arguments[0].focus({preventScroll: true})", element)
        for key in keys:
            webdriver.ActionChains(self.browser).send_keys(key).perform()

    @property
    def cells(self) -> list[str]:
        """Types of the notebook's cells."""
        script = "return [...document.querySelectorAll('.jp-Notebook .jp-Cell')].map(c => c.className)"
        return ["code" if "jp-CodeCell" in name else "other" for name in self.browser.execute_script(script)]


@pytest.fixture(scope="module")
def shots(tmp_path_factory) -> Path:
    """Where pictures are kept: MOTORS_SCREENSHOTS, or a temporary folder."""
    folder = Path(os.environ.get("MOTORS_SCREENSHOTS") or tmp_path_factory.mktemp("shots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_the_viewer_moves_with_slider_keys_wheel_and_clicks(server, browser, shots):
    """Every one changes pixels; the kernel knows where the cross-hair is; keys never reach the notebook."""
    notebook(server[1] / "viewer.ipynb", VIEWER, CHARTS)
    page = Page(browser, server, "viewer.ipynb", shots)
    now = page.pixels("img.motors-plane-0")
    root = page.find("[data-lm-suppress-shortcuts]")
    page.shot("viewer")
    kinds = [name for name in ("png", "jpeg") if page.find(f"img[src^='data:image/{name}']")]
    assert kinds == ["png", "jpeg"], "a chart, then a photograph"

    def at(z: int, y: int, x: int) -> None:
        text = f"z {z}, y {y}, x {x}"
        page.until(f"return document.querySelector('[data-lm-suppress-shortcuts]').textContent.includes('{text}')")

    at(20, 31, 44)
    handle = page.find(".noUi-handle")
    webdriver.ActionChains(browser).click_and_hold(handle).move_by_offset(40, 0).perform()  # not let go
    now = page.changed("img.motors-plane-0", now)
    webdriver.ActionChains(browser).release().perform()
    page.press(root, "n")
    now = page.changed("img.motors-plane-0", now)
    at(20, 31, 44)
    page.press(root, "a", "d", "d", ".", ".", webdriver.Keys.ARROW_UP, webdriver.Keys.ARROW_RIGHT)
    at(22, 30, 45)
    now = page.pixels("img.motors-plane-0")
    for key in "lx":
        page.press(root, key)
        now = page.changed("img.motors-plane-0", now)
    image = page.find("img.motors-plane-0")
    width, height = image.size["width"], image.size["height"]
    shift = [
        round(((place + 0.5) / side - 0.5) * pixels) for place, side, pixels in ((20, 80, width), (40, 60, height))
    ]
    webdriver.ActionChains(browser).move_to_element_with_offset(image, *shift).click().perform()
    at(22, 40, 20)
    origin = webdriver.common.actions.wheel_input.ScrollOrigin.from_element(image)
    webdriver.ActionChains(browser).scroll_from_origin(origin, 0, 100).perform()
    at(23, 40, 20)
    page.shot("viewer-after")
    assert page.cells == ["code", "code"], "a key reached the notebook"


REVIEW = """
import numpy as np
import pandas as pd
from motors.labels.table import Labels
from motors.review import disagreements, sheets
from motors.review.widget import Reviewer
from motors.volumes.tomogram import Tomogram
read = lambda name: Tomogram(name, np.random.default_rng(0).integers(0, 256, (40, 60, 80), np.uint8), 50.0)
tomograms = pd.DataFrame([["a", 40, 60, 80, 50.0]], columns=["tomo_id", "size_z", "size_y", "size_x", "spacing"])
known = Labels(tomograms, pd.DataFrame([["a", 10.0, 10.0, 10.0]], columns=["tomo_id", "z", "y", "x"]))
found = [["a", 30, 40, 70, 0.9], ["a", 5, 50, 60, 0.6]]
found = pd.DataFrame(found, columns=["tomo_id", "z", "y", "x", "score"])
table = sheets.sheet(known, disagreements.match(known, found))
Reviewer(table, read, "decisions.csv")
"""


def test_three_cases_are_decided_by_keyboard_and_are_in_the_file(server, browser, shots):
    """With the focus on the widget, on a picture and on a button; one answer is taken back and given anew."""
    notebook(server[1] / "review.ipynb", "1 + 1", REVIEW)
    page = Page(browser, server, "review.ipynb", shots)
    page.find("img.motors-plane-0")
    page.shot("review")
    root = "document.querySelector('[data-lm-suppress-shortcuts]')"

    def says(words: str) -> None:
        page.until(f"return {root}.textContent.includes('{words}')")

    says("0 of 3 decided")
    before = page.pixels("img.motors-plane-0")
    page.find("img.motors-plane-0").click()
    webdriver.ActionChains(browser).send_keys("r").perform()
    says("1 of 3 decided")
    page.changed("img.motors-plane-0", before)
    webdriver.ActionChains(browser).send_keys("u").perform()
    says("0 of 3 decided")
    page.find("[data-lm-suppress-shortcuts] button", 3).click()  # skip: the focus stays on the button
    webdriver.ActionChains(browser).send_keys("a").perform()
    says("1 of 3 decided")
    webdriver.ActionChains(browser).send_keys("a").perform()
    says("2 of 3 decided")
    webdriver.ActionChains(browser).send_keys("b", "b").perform()
    webdriver.ActionChains(browser).send_keys("b", "r").perform()
    says("3 of 3 decided")
    page.shot("review-after")
    decided = pd.read_csv(server[1] / "decisions.csv")
    assert decided.set_index("entry").decision.tolist() == ["reject", "accept", "accept"]
    assert page.cells == ["code", "code"], "a key reached the notebook"


ERRORS = """
return window.jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.type == 'code').map(cell => [
  cell.model.executionCount, cell.model.outputs.toJSON().find(output => output.output_type == 'error')?.evalue || ''])
"""


def smallest(path: Path, step: Step) -> None:
    """Write the smallest setting into a notebook's cell of parameters, as somebody would by hand."""
    written = json.loads(path.read_text())
    cell = next(cell for cell in written["cells"] if "parameters" in cell["metadata"].get("tags", []))
    lines = "".join(cell["source"]).splitlines()
    for name, value in {"PROFILE": "smoke", **step.parameters}.items():
        lines = [f"{name} = {value!r}" if line.startswith(f"{name}:") else line for line in lines]
    cell["source"] = "\n".join(lines)
    path.write_text(json.dumps(written))


@pytest.mark.slow
def test_every_notebook_runs_all_in_jupyterlab(server, browser, shots):
    """One after the other, in the order of the graph; run-all.csv says how long each took and how much it shows."""
    root = server[1] / "clone"
    for folder in ("notebooks", "lib"):
        shutil.copytree(toys.REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    toys.packages(root)
    browser.set_script_timeout(1800)
    rows = []
    for name, step in steps(paths.find(root), "smoke").items():
        smallest(root / "notebooks" / f"{name}.ipynb", step)
        begin = time.monotonic()
        page = Page(browser, server, f"clone/notebooks/{name}.ipynb", shots)
        cells = browser.execute_script(ERRORS)
        seconds, images = time.monotonic() - begin, browser.execute_script("return document.images.length")
        errors = [error for _, error in cells if error]
        rows.append([name, len(cells), sum(bool(count) for count, _ in cells), round(seconds), images, *errors[:1]])
        page.shot(f"run-all-{name}")
        page.command("docmanager:save")
        browser.execute_script("return window.jupyterapp.serviceManager.sessions.shutdownAll()")
        table = pd.DataFrame(rows).reindex(columns=range(6))
        table.columns = ["notebook", "code cells", "executed", "seconds", "pictures in view", "error"]
        table.to_csv(shots / "run-all.csv", index=False)
    assert table.error.isna().all() and (table.executed == table["code cells"]).all(), table.to_string()
