"""What people see: the notebooks run in a real JupyterLab, and the HTML pages, in a real browser.

Notebooks that train much have smaller parameters here; in full they are nbval's, which runs them without a browser.
Screenshots of the notebooks go to ``outputs/screenshots/``, for people to look at.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import small_notebooks
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from processes import wait_until

from normlib import stack
from normlib.execution import summary
from normlib.report import agreement
from normlib.runs.store import save_record
from normlib.studies import results as results_module

ROOT = Path(__file__).parent.parent
SCREENSHOTS = ROOT / "outputs" / "screenshots"
TOKEN = "a-token-of-this-test"
# By the names that Linux distributions give it.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, Debian's package 'chromium'"),
    pytest.mark.skipif(
        stack.resolve_provider("auto") != "addons",
        reason="JupyterLab is tested on the addons stack; with Keras 3, test_colab.py runs the notebooks",
    ),
]
# Cells are all in the page, also those that are out of sight; and no window of news lies on top.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # As root, in a container, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on copies of the notebooks without outputs, with nobody's settings; its address."""
    folder = tmp_path_factory.mktemp("lab")
    for name in small_notebooks.NAMES:
        notebook = small_notebooks.read(name)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        (folder / "notebooks").mkdir(exist_ok=True)
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    for plugin, settings in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    own = {"CONFIG": "config", "RUNTIME": "runtime", "DATA": "data"}
    environment = {f"JUPYTER_{name}_DIR": str(folder / path) for name, path in own.items()}
    environment |= {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder / 'notebooks'}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: list((folder / "runtime").glob("jpserver-*.json")), seconds=120)
        (info,) = (folder / "runtime").glob("jpserver-*.json")
        yield json.loads(info.read_text())["url"]
    finally:
        process.terminate()
        process.wait(timeout=60)


def run_all(page, address, name):
    """Open a notebook, choose Run, Run All Cells in the menu, and wait until each code cell has its number."""
    page.goto(f"{address}lab/tree/{name}.ipynb?reset&token={TOKEN}")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # in the status bar, once the kernel has started
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(
        """() => {
            const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")].map(p => p.textContent);
            return prompts.every((text, i) => text === `[${i + 1}]:`);
        }""",
        timeout=240_000,
    )


def save_screenshot(page, name):
    """Save what a reader would scroll through as one picture."""
    scroller = page.locator(".jp-NotebookPanel .jp-WindowedPanel-outer")
    height = scroller.evaluate("element => element.scrollHeight")
    page.set_viewport_size({"width": 1300, "height": height + 150})
    scroller.evaluate("element => element.scrollTo(0, 0)")
    page.wait_for_timeout(1000)  # what came into view is drawn
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.mark.parametrize("name", small_notebooks.NAMES)
def test_in_jupyterlab_a_notebook_runs_to_its_end_and_shows_pictures_and_tables(browser, lab, name):
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(120_000)
    run_all(page, lab, name)
    save_screenshot(page, name)
    shown = ".jp-OutputArea-output"
    assert page.locator(f"{shown}[data-mime-type='application/vnd.jupyter.error']").all_text_contents() == []
    assert page.locator(f"{shown}[data-mime-type='application/vnd.jupyter.stderr']").all_text_contents() == []
    texts = page.locator(f"{shown}[data-mime-type='text/plain']").all_text_contents()
    assert not [text for text in texts if text.startswith("<") or "<Figure" in text or "object at 0x" in text]
    assert page.locator(".jp-MarkdownCell:not(.jp-mod-rendered)").count() == 0
    sizes = page.locator(f"{shown} img").evaluate_all("found => found.map(i => i.complete && i.naturalWidth)")
    assert sizes
    assert all(width > 300 for width in sizes)
    for cell in page.locator(".jp-CodeCell", has_text="plot_bars(").all():
        assert cell.locator(".jp-RenderedImage img").count() == 1
    for cell in page.locator(".jp-CodeCell", has_text="train_all(").all():
        assert [text for text in cell.locator(shown).all_text_contents() if "runs done" in text]
    for session in page.request.get(f"{lab}api/sessions?token={TOKEN}").json():
        page.request.delete(f"{lab}api/sessions/{session['id']}?token={TOKEN}")
    page.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The summary of the source's kept runs as a page, and the page that compares it, here with itself."""
    folder = tmp_path_factory.mktemp("study") / "source"
    source = results_module.read_kept("source")
    for run in source.runs:
        save_record(run, folder / "records")
    (folder / "study.yaml").write_text(source.study.to_yaml())
    summary.write_summary(folder)
    agreement.compare_folders(folder, folder, {"html": str(folder / "both.html")})
    return folder


@pytest.mark.parametrize(("name", "number"), [("summary.html", 5), ("both.html", 1)])
def test_axe_finds_nothing_that_keeps_people_out_of_a_page(browser, pages, name, number):
    page = browser.new_page()
    page.goto((pages / name).as_uri())
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert found.response["passes"]
    tables = page.locator("table")
    assert tables.count() == number
    assert all(table.locator("th").count() for table in tables.all())
    alternatives = page.locator("img").evaluate_all("images => images.map(image => image.alt)")
    assert all(len(text) > 60 for text in alternatives)
    page.close()
