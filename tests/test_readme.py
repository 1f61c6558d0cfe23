"""What the README shows is what the kept records say."""

import re
from pathlib import Path

import matplotlib as mpl
import PIL.Image
import pytest
import scripts
from matplotlib.testing.compare import compare_images

import normlib
from normlib.execution import summary
from normlib.report import plots
from normlib.runs import store
from normlib.studies import results as results_module
from normlib.studies import study as study_module
from normlib.studies import tuning
from normlib.studies.folder import planned_runs

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def findings():
    """The script that makes the README's parts."""
    return scripts.load("findings")


def test_its_tables_and_sentences_are_made_from_the_kept_records(findings):
    texts = [page.read_text(encoding="utf-8") for page in findings.PAGES]
    made = ["results", "original stack", "benchmarks", "agreement", "counts", "findings"]
    made += ["rules", "cases", "looks", "split runs", "scaling"]
    assert re.findall("<!-- made: (.+) -->", "".join(texts)) == made
    assert [findings.render(text) for text in texts] == texts


def test_its_pictures_show_the_kept_records(findings):
    """By what a picture says of itself, since other versions of Matplotlib draw letters and lines elsewhere."""
    drawn = findings.draw()
    assert set(drawn) == {"bars", "power", *study_module.shipped_studies()}
    for name, figure in drawn.items():
        with PIL.Image.open(ROOT / "docs" / f"{name}.png") as picture:
            assert picture.text["Description"] == findings.describe(figure), name


def test_a_picture_of_other_records_says_something_else(findings):
    runs = store.load_records(store.SOURCE_RECORDS)
    said = findings.describe(plots.plot_bars(runs)[0])
    runs.loc[runs["ordering"] == "gn/bn", "train_loss"] += 0.001
    assert said != findings.describe(plots.plot_bars(runs)[0])


@pytest.mark.parametrize("name", ["bars", "conditions", "lag"])
def test_its_pictures_are_what_is_drawn_now(findings, name, tmp_path):
    with PIL.Image.open(ROOT / "docs" / f"{name}.png") as picture:
        software = picture.text["Software"]
    if software != f"Matplotlib {mpl.__version__}":
        pytest.skip(f"drawn by {software}, and here is {mpl.__version__}")
    drawn, _ = summary.save_figure(findings.draw()[name], tmp_path / name)
    assert compare_images(str(ROOT / "docs" / f"{name}.png"), str(drawn), tol=5) is None


def test_every_file_that_its_pages_name_is_there(findings):
    for page in findings.PAGES:
        links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")) if "://" not in link]
        assert not [link for link in links if not (page.parent / link).exists()], page


def test_its_example_of_a_study_can_be_read(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example, contrasts = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "example.yaml").write_text(example)
    study = study_module.read_study(tmp_path / "example.yaml")
    assert len(study.instances) == 12
    assert len(study.declared) == 2
    others = "question: Which?\norderings: [bn, gn, none]\nvaries: [{batch_size: [32, 2]}]\n"
    (tmp_path / "example.yaml").write_text(others + contrasts)
    assert len(study_module.read_study(tmp_path / "example.yaml").declared) == 2


def test_its_example_of_scores_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    (example,) = (block for block in blocks if "scores.csv" in block)
    names = {"normlib": normlib}
    exec(example, names)
    assert normlib.estimate(names["scores"], {"gain": "ours - theirs"}, "score", 0.01, arm="model")[
        "pairs"
    ].tolist() == [8]


def test_its_example_of_swapping_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    (example,) = (block for block in blocks if "normlib.swap(" in block)
    names = {}
    exec(example, names)
    assert set(names["normlib"].slots(names["swapped"])["kind"]) == {"gn"}
    assert names["normlib"].slots(names["mixed"])["kind"].tolist()[:4] == ["bn", "gn", "bn", "gn"]


def test_every_make_target_that_it_names_exists():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named
    assert set(named) <= set(targets)


@pytest.mark.parametrize("name", study_module.shipped_studies())
def test_kept_records_are_all_runs_of_their_study_as_the_file_that_ships_declares_it(name):
    """Each line has its checksum; reading would leave out, with a warning, a line that was edited."""
    results = results_module.read_kept(name)
    study, records = results.study, store.read_records(store.KEPT / f"{name}.jsonl")
    stages = [study, *([tuning.tuning_study(study), study.tied_version()] if study.tune else [])]
    lines = (store.KEPT / f"{name}.jsonl").read_text().splitlines()
    assert len(lines) == sum(len(stage.instances) * stage.seeds for stage in stages)
    runs = store.load_records(store.KEPT / f"{name}.jsonl")
    assert len(runs) == len(lines)
    assert all(planned_runs(stage, records)["done"].all() for stage in stages)
    assert set(runs["study_sha256"]) == {study.declared_in}
    assert len(results.runs) == len(study.instances) * study.seeds
    assert runs["commit"].str.fullmatch("[0-9a-f]{40}").all()
