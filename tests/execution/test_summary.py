import math
import os

import masters
import nbformat
import pytest

from normlib.errors import RequestError
from normlib.execution import summary
from normlib.execution.summary import save_figure, write_summary
from normlib.report.plots import plot_bars
from normlib.runs.store import save_record


@pytest.fixture
def study_folder(make_record, tmp_path):
    for ordering, loss in (("bn/none", 0.43), ("gn/bn", 0.47), ("none/none", 0.40)):
        for seed in range(3):
            diverged = (ordering, seed) == ("gn/bn", 2)
            made = make_record(ordering, seed, math.nan if diverged else loss + 0.01 * seed)
            save_record(made, tmp_path / "study" / "records")
    # Of settings that the study had before, and so in no summary.
    save_record(make_record("bn/none", 0, loss=9.0, batch_size=64), tmp_path / "study" / "records")
    (tmp_path / "study" / "study.yaml").write_text(
        "question: Which?\norderings: [bn, gn/bn, none]\ncontrasts: {against none: bn - none}\n"
    )
    return tmp_path / "study"


def test_a_study_is_summarized_as_notebook_page_and_figures(study_folder):
    written = write_summary(study_folder)
    assert [str(path.relative_to(study_folder)) for path in written] == [
        "summary.ipynb",
        "summary.html",
        "figures/bars.png",
        "figures/bars.svg",
        "figures/bars_evaluation.png",
        "figures/bars_evaluation.svg",
        "figures/places.png",
        "figures/places.svg",
        "figures/contrasts.png",
        "figures/contrasts.svg",
        "figures/training.png",
        "figures/training.svg",
        "figures/gap.png",
        "figures/gap.svg",
    ]
    text = "".join(str(cell) for cell in nbformat.read(written[0], as_version=4).cells)
    assert "By means, the baseline none/none is best, 0.4100: 0.0300" in text
    assert "Diverged: 1 of 3 runs of gn/bn" in text
    page = written[1].read_text()
    assert "load_records" not in page  # no code
    assert "batches of 64" not in page
    assert page.count("<img alt=") == 6
    assert written[2].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in written[3].read_text()
    assert os.fspath(study_folder) not in page + written[0].read_text()


def test_a_study_that_varies_settings_has_a_map_in_place_of_bars(study_folder, make_record, monkeypatch):
    """Beside what the notebook says, which here is any."""
    monkeypatch.setattr(summary, "execute", lambda *_, **__: masters.of("1"))
    for path in (study_folder / "records").iterdir():
        path.unlink()
    for ordering, size, loss in (("bn", 32, 0.3), ("bn", 64, 0.5), ("none", 32, 0.4), ("none", 64, 0.4)):
        for seed in range(2):
            save_record(make_record(ordering, seed, loss + 0.01 * seed, batch_size=size), study_folder / "records")
    (study_folder / "study.yaml").write_text(
        "question: Which?\norderings: [bn, none]\nvaries: [{batch_size: [32, 64]}]\nseeds: 2\n"
    )
    (study_folder / "figures").mkdir()
    (study_folder / "figures" / "bars.png").write_text("of an older summary")
    (study_folder / "figures" / "mine.png").write_text("not ours")
    write_summary(study_folder)
    assert sorted(path.name for path in (study_folder / "figures").iterdir()) == [
        "gap.png", "gap.svg", "mine.png", "training.png", "training.svg", "winners.png", "winners.svg",
    ]  # fmt: skip


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"^DIR is .*, but must be a study's output folder"):
        write_summary(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_records_that_must_not_be_compared_are_refused_before_anything_is_written(study_folder, make_record):
    save_record(make_record("bn/none", 3, environment={"threads": 2}), study_folder / "records")
    with pytest.raises(
        RequestError, match=r"records is 'threads of 1 and 2', but a comparison has one value of threads"
    ):
        write_summary(study_folder)
    assert sorted(path.name for path in study_folder.iterdir()) == ["records", "study.yaml"]


def test_the_same_figure_is_the_same_file(make_frame, tmp_path):
    files = []
    for name in ("first", "again"):
        figure, _ = plot_bars(make_frame({"bn/none": [0.4, 0.5]}))
        files.append([path.read_bytes() for path in save_figure(figure, tmp_path / name)])
    assert files[0] == files[1]
