"""What the README shows is what the kept records say."""

import hashlib
import importlib.util
import re
from pathlib import Path

import matplotlib as mpl
import PIL.Image
import pytest
from matplotlib.testing.compare import compare_images

from normlib import plots, records, summary

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def readme():
    """The script that makes the README's parts."""
    spec = importlib.util.spec_from_file_location("readme", ROOT / "docs" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_tables_are_made_from_the_kept_records(readme):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("<!-- made: ") == 3
    assert readme.render(text) == text


def test_its_picture_shows_the_kept_records(readme):
    """By what the picture says of itself, since other versions of Matplotlib draw letters and lines elsewhere."""
    runs = records.load_records(records.SOURCE_RECORDS)
    with PIL.Image.open(ROOT / "docs" / "bars.png") as picture:
        said = picture.text["Description"]
    assert said == readme.describe(plots.plot_bars(runs)[1])
    runs.loc[runs["ordering"] == "gn/bn", "train_loss"] += 0.001
    assert said != readme.describe(plots.plot_bars(runs)[1])


def test_its_picture_is_what_is_drawn_now(tmp_path):
    with PIL.Image.open(ROOT / "docs" / "bars.png") as picture:
        software = picture.text["Software"]
    if software != f"Matplotlib {mpl.__version__}":
        pytest.skip(f"drawn by {software}, and here is {mpl.__version__}")
    runs = records.load_records(records.SOURCE_RECORDS)
    drawn, _ = summary.save_figure(plots.plot_bars(runs)[0], tmp_path / "bars")
    assert compare_images(str(ROOT / "docs" / "bars.png"), str(drawn), tol=5) is None


def test_every_file_that_it_names_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_make_target_that_it_names_exists():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named
    assert set(named) <= set(targets)


def test_the_kept_records_are_whole():
    """Each line has its checksum; reading would leave out, with a warning, a line that was edited."""
    lines = records.SOURCE_RECORDS.read_text().splitlines()
    assert len(records.read_records(records.SOURCE_RECORDS)) == len(lines) == 50
    assert len({hashlib.sha256(line.encode()).hexdigest() for line in lines}) == 50
