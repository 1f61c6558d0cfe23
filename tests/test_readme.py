"""What README and docs show is what the kept records say, and what they name is there."""

import re
import sys
import types
from pathlib import Path

import matplotlib as mpl
import PIL.Image
import pytest
import scripts
from matplotlib.testing.compare import compare_images

from normlib.execution import summary
from normlib.models import kinds, zoo
from normlib.report import plots
from normlib.runs import store
from normlib.studies import results as results_module
from normlib.studies import study as study_module
from normlib.studies import tuning
from normlib.studies.folder import planned_runs

ROOT = Path(__file__).parent.parent
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def findings():
    """The script that makes the README's parts."""
    return scripts.load("findings")


@pytest.fixture(scope="module")
def pages(findings):
    """What each study's page says."""
    return findings.study_pages()


@pytest.fixture(scope="module")
def drawn(findings):
    """All pictures."""
    return findings.draw()


def test_tables_and_sentences_are_made_from_the_kept_records(findings, pages):
    texts = [page.read_text(encoding="utf-8") for page in findings.PAGES]
    made = re.findall("<!-- made: (.+) -->", "".join(texts))
    assert sorted(made) == sorted([
        *("opening", "verdict", "told", "counts", "findings", "rules", "cases", "looks", "split runs", "scaling"),
        *("original stack", "results", "benchmarks", "agreement", "replication"),
    ])  # fmt: skip
    assert [findings.render(text) for text in texts] == texts
    assert sorted((ROOT / "docs" / "findings").glob("*")) == sorted(pages)
    assert {page: page.read_text(encoding="utf-8") for page in pages} == pages


def test_the_readme_is_short_and_each_page_of_the_docs_says_first_what_it_is_for(findings, pages):
    readme = README.read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 200
    assert len(readme.encode()) <= 15_000
    for page in (*findings.PAGES[1:], *pages):
        title, blank, purpose, *rest = page.read_text(encoding="utf-8").splitlines()
        assert (title[:2], blank) == ("# ", ""), page
        assert purpose.startswith("This page "), page
        assert len(rest) <= 247, page
        assert f"({page.relative_to(ROOT)})" in readme or page.parent.name == "findings", f"nothing leads to {page}"


def test_its_pictures_show_the_kept_records(findings, drawn):
    """By what a picture says of itself, since other versions of Matplotlib draw letters and lines elsewhere."""
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
def test_its_pictures_are_what_is_drawn_now(drawn, name, tmp_path):
    with PIL.Image.open(ROOT / "docs" / f"{name}.png") as picture:
        software = picture.text["Software"]
    if software != f"Matplotlib {mpl.__version__}":
        pytest.skip(f"drawn by {software}, and here is {mpl.__version__}")
    picture, _ = summary.save_figure(drawn[name], tmp_path / name)
    assert compare_images(str(ROOT / "docs" / f"{name}.png"), str(picture), tol=5) is None


def test_every_file_that_its_pages_name_is_there(findings, pages):
    for page in (*findings.PAGES, *pages, CONTRIBUTING):
        text = page.read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
        assert not [link for link in links if not (page.parent / link).exists()], page
        anchors = [link for link in re.findall(r"\]\(([^)]*#[^)]+)\)", text) if "://" not in link]
        for link in anchors:
            name, _, anchor = link.partition("#")
            heads = re.findall(r"^#+ (.+)$", (page.parent / name if name else page).read_text("utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads], (page, link)


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_its_examples_of_studies_can_be_read(tmp_path):
    (example,) = blocks(README, "yaml")
    (contrasts,) = blocks(ROOT / "docs" / "studies.md", "yaml")
    (tmp_path / "example.yaml").write_text(example)
    study = study_module.read_study(tmp_path / "example.yaml")
    assert len(study.instances) == 12
    assert len(study.declared) == 2
    others = "question: Which?\norderings: [bn, gn, none]\nvaries: [{batch_size: [32, 2]}]\n"
    (tmp_path / "example.yaml").write_text(others + contrasts)
    assert len(study_module.read_study(tmp_path / "example.yaml").declared) == 2


def test_its_python_runs_from_a_model_to_a_verdict(monkeypatch, capsys):
    """As in a notebook, in which one cell follows the other; with fewer seeds and images."""
    monkeypatch.chdir(ROOT)
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    for block in blocks(README, "python"):
        exec(block.replace("seeds=3", "seeds=2").replace("000]", "00]"), vars(main))
    verdicts = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in verdicts] == ["GroupNorm or BatchNorm", "any or none"]
    assert len(main.runs) == 6
    found = main.normlib.estimate(main.scores, {"gain": "ours - theirs"}, "score", 0.01, arm="model")
    assert found["pairs"].tolist() == [8]


def test_the_example_of_swapping_runs():
    (example,) = (block for block in blocks(ROOT / "docs" / "models.md", "python") if "normlib.swap(" in block)
    names = {}
    exec(example, names)
    assert set(names["normlib"].slots(names["swapped"])["kind"]) == {"gn"}
    assert names["normlib"].slots(names["mixed"])["kind"].tolist()[:4] == ["bn", "gn", "bn", "gn"]


def test_the_page_of_kinds_and_that_of_models_name_them_all():
    for page, names in (("kinds", kinds.KINDS), ("models", zoo.MODELS)):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        assert not [name for name in names if f"`{name}`" not in text]


def test_every_make_target_that_it_names_exists():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    texts = [page.read_text(encoding="utf-8") for page in (README, CONTRIBUTING, *(ROOT / "docs").glob("*.md"))]
    named = re.findall(r"(?:`|^)make ([a-z]+)", "\n".join(texts), flags=re.MULTILINE)
    assert named
    assert set(named) <= set(targets)


@pytest.mark.parametrize("name", study_module.shipped_studies())
def test_kept_records_are_all_runs_of_their_study_as_the_file_that_ships_declares_it(name):
    """Each line has its checksum; reading would leave out, with a warning, a line that was edited."""
    results = results_module.read_kept(name)
    study, records = results.study, store.read_records(store.KEPT / f"{name}.jsonl")
    stages = [study, *([tuning.tuning_study(study), study.tied_version()] if study.tune else [])]
    lines = (store.KEPT / f"{name}.jsonl").read_text().splitlines()
    ended = results.needed_seeds or study.seeds  # a study may end at a look, and the runs at tied settings with it
    seeds = [ended, *([stages[1].seeds, ended] if study.tune else [])]
    assert len(lines) == sum(len(stage.instances) * count for stage, count in zip(stages, seeds, strict=True))
    runs = store.load_records(store.KEPT / f"{name}.jsonl")
    assert len(runs) == len(lines)
    assert all(planned_runs(stage, records, count)["done"].all() for stage, count in zip(stages, seeds, strict=True))
    assert set(runs["study_sha256"]) == {study.declared_in}
    assert len(results.runs) == len(study.instances) * seeds[0]
    assert runs["commit"].str.fullmatch("[0-9a-f]{40}").all()
