"""Data never becomes code: strings, studies and records that strangers made, and what can be reached from outside."""

import dataclasses
import json
import re
from pathlib import Path

import bs4
import masters
import nbformat
import pytest
import yaml

from normlib.execution import notebook as notebook_module
from normlib.execution import summary
from normlib.execution.notebook import ExecutionError, execute, notebook_path
from normlib.execution.schedule import run_study
from normlib.execution.workers import local_executor
from normlib.report import export
from normlib.runs.store import save_record
from normlib.studies import results as results_module
from normlib.studies.study import Study

ROOT = Path(__file__).parent.parent
# Each would make a file called "executed", or show itself, where it is taken for code.
TOUCH = "__import__('pathlib').Path('executed').touch()"
HOSTILE = {
    "double quotes": f'"; {TOUCH}; "',
    "single quotes": f"'; {TOUCH.replace(chr(39), chr(34))}; '",
    "three quotes": f'"""\n{TOUCH}\n"""',
    "a line of its own": f"bn\n{TOUCH}\n",
    "a carriage return": f"bn\r{TOUCH}\r",
    "shell": "bn\n!touch executed",
    "a cell's magic": "%%bash\ntouch executed",
    "a line's magic": "\n%system touch executed\n",
    "braces": f"{{{TOUCH}}}",
    "a shell's substitution": "$(touch executed)`touch executed`; touch executed",
    "a backslash at the end": "bn\\",
    "a null byte": "bn\0",
    "a mark that turns the writing": "\u202egnp.exe\u2066",
    "a terminal's commands": "\x1b]0;mine\x07\x1b[2J",
    "a line separator": f"bn\u2028{TOUCH}\u2029{TOUCH}\x85{TOUCH}",
    "a path": "../../executed",
    "a megabyte": "x" * 1_000_000,
    "a lone surrogate": "bn\ud800",
}
MARK = "pwned"
MARKUP = [
    f"<script>alert('{MARK}')</script>",
    f"<img src={MARK} onerror=alert('{MARK}')>",
    f"</title></style><iframe src='javascript:{MARK}'>",
    f"[{MARK}](javascript:{MARK})",
    f"![{MARK}](https://example.invalid/{MARK})",
    f"$\\frac{{{MARK}$ and $$x",
    f"=HYPERLINK('{MARK}')",
    f"{{{{ {MARK} }}}} {{% {MARK} %}}",
    f"--><!-- {MARK} ]]>",
    f"\\input{{{MARK}}}",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which this process, and the kernels that it starts, are."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_notebook_gets_every_string_as_it_is_and_runs_none_of_it(folder):
    texts = [text for text in HOSTILE.values() if text.isprintable() or "\ud800" not in text]
    asks = masters.of("texts = []", "import json\nprint(json.dumps(texts))")
    executed = nbformat.reads(execute(asks, {"texts": texts}), as_version=4)
    printed = "".join(output.text for cell in executed.cells for output in cell.outputs)
    assert json.loads(printed) == texts
    assert list(folder.iterdir()) == []


def test_the_master_notebook_refuses_every_string_that_is_none_of_its_settings_and_runs_none_of_it(folder):
    everything = "".join(text for text in HOSTILE.values() if "\ud800" not in text)
    with pytest.raises(ExecutionError, match=r"^RequestError: ordering is ") as error:
        execute(notebook_path("instance").read_text("utf-8"), {"ordering": everything})
    assert len(error.value.reason) < 1500
    assert list(folder.iterdir()) == []


def wrong_places(page):
    """Return where the mark stands and is no text: attributes but a picture's alternative text, scripts, comments."""
    found = bs4.BeautifulSoup(page, "html.parser")
    attributes = [(tag.name, *pair) for tag in found.find_all() for pair in tag.attrs.items()]
    named = [place for place in attributes if MARK in str(place[1:]) and place[:2] != ("img", "alt")]
    return [
        *named,
        *(text for text in found.find_all(string=re.compile(MARK)) if type(text) is not bs4.NavigableString),
    ]


def hostile_study(folder, make_record):
    """Make a study whose every text is markup, with its runs, and beside them records that say more than they may."""
    contrasts = dict.fromkeys(MARKUP, "bn/none - none/none")
    body = {"question": " ".join(MARKUP), "citation": MARKUP[0], "orderings": ["bn", "none"], "contrasts": contrasts}
    body |= {"seeds": 3, "margin": 0.01}
    (folder / "study.yaml").write_text(yaml.safe_dump(body))
    for ordering, losses in {"bn": (0.4, 0.41, 0.43), "none": (0.3, 0.32, 0.31)}.items():
        for seed, loss in enumerate(losses):
            save_record(make_record(ordering, seed, loss), folder / "records")
    for number, text in enumerate(MARKUP):
        record = make_record("gn", number)
        for name, changed in {
            "processor": dataclasses.replace(record, environment=record.environment | {"processor": text}),
            "ordering": dataclasses.replace(record, instance=record.instance | {"ordering": text}),
            "key": dataclasses.replace(record, key=text),
        }.items():
            (folder / "records" / f"{name}{number}.json").write_text(changed.to_json())


def test_what_strangers_wrote_is_shown_and_is_no_markup_in_notebook_page_picture_table_and_paper(
    folder, make_record, recwarn
):
    """Texts of a study that may be anything printable; records' are not read where they are no processor's names."""
    hostile_study(folder, make_record)
    written = summary.write_summary(folder)
    left_out = [str(warning.message) for warning in recwarn if "left out" in str(warning.message)]
    assert len({message.split()[2] for message in left_out}) >= 2 * len(MARKUP)
    results = results_module.read_folder(folder)
    page = (folder / "summary.html").read_text("utf-8")
    assert wrong_places(page) == []
    assert f"&lt;script&gt;alert('{MARK}')&lt;/script&gt;" in page or f"alert(&#x27;{MARK}&#x27;)" in page
    for path in written:
        if path.suffix == ".svg":
            svg = path.read_text("utf-8")
            assert "<script" not in svg
            assert "onerror=" not in re.sub(r"<!--.*?-->|<dc:description>[^<]*<", "", svg, flags=re.DOTALL)
    assert "contrasts.svg" in {path.name for path in written}
    lines = [line for text in export.csv_files(results, folder / "a.csv").values() for line in text.splitlines()]
    cells = [cell for line in lines for cell in line.split(",")]
    assert not [cell for cell in cells if re.match(r"[=+@\t\r]|-(?!\d)", cell.strip('"'))]
    latex = export.to_latex(results)
    assert "\\input{" not in latex
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["study.yaml", "records", "summary.ipynb", "summary.html", "figures"]
    )


def test_what_the_terminal_shows_of_a_failure_is_no_command_to_it(folder, make_record):
    from normlib.studies.folder import Failure, describe_status, write_failure

    (folder / "study.yaml").write_text("question: Which?\norderings: [bn]\nseeds: 1\n")
    save_record(make_record("gn"), folder / "records")
    text = HOSTILE["a terminal's commands"] + HOSTILE["a mark that turns the writing"]
    settings = make_record("bn").instance
    write_failure(Failure("0" * 16, settings, 0, text, f"{text}\n{text}", text), folder)
    told = describe_status(folder)
    assert "gnp.exe" in told
    assert all(line.isprintable() for line in told.splitlines())


def test_what_docs_and_make_start_listens_on_loopback_only_and_jupyter_asks_for_its_token():
    """That of the kernels is looked at in test_kernels.py."""
    text = (ROOT / "docs" / "clusters.md").read_text("utf-8") + (ROOT / "Makefile").read_text("utf-8")
    dask = re.findall(r"^dask (scheduler|worker)(?: tcp://127.0.0.1:8786)? (.*)$", text, flags=re.MULTILINE)
    assert [program for program, _ in dask] == ["scheduler", "worker", "worker"]
    assert all(options.startswith("--host 127.0.0.1 --dashboard-address 127.0.0.1:") for _, options in dask)
    (lab,) = re.findall(r"^lab:.*\n\t(.*)$", text, flags=re.MULTILINE)
    assert lab == "$(BIN)/jupyter lab --ip 127.0.0.1 --notebook-dir notebooks"


def test_no_home_and_no_secret_of_the_users_is_in_what_a_study_leaves(tmp_path, monkeypatch):
    """One run is done, one fails with a message that names the home, and a cell warns with its path."""
    home = tmp_path / "home" / "somebody é"
    out = home / "outputs" / "small"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-mine")
    shows = "import pathlib, warnings\nprint(pathlib.Path.home() / 'x')\nwarnings.warn(records_dir)\n"
    masters.use(monkeypatch, tmp_path, f"{shows}if first_seed == 1:\n    open(pathlib.Path.home() / 'missing')")
    with local_executor(2) as executor:
        (failure,) = run_study(Study("small", "Which?", ("none",), seeds=2), out, executor)
    assert "No such file or directory: '~/missing'" in failure.reason
    left = [path for path in out.rglob("*") if path.is_file()]
    assert {path.parent.name for path in left} >= {"records", "notebooks", "failures", "small"}
    for path in left:
        text = path.read_text("utf-8")
        assert "a-secret-of-mine" not in text
        for name in ("somebody", str(home)):
            assert name not in text, path
    executed = [path.read_text("utf-8") for path in (out / "notebooks").iterdir()]
    assert all("~/x" in text and '\\"../records\\"' in text for text in executed)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/me/a, /home/me, '/home/me' in /home/me.", "~/a, ~, '~' in ~."),
        ("\n/home/me/a\t/home/me/b \x1b[0;32m/home/me/c\x1b[0m", "\n~/a\t~/b \x1b[0;32m~/c\x1b[0m"),
        ("/home/meg /home/me-too /home/me.old /mnt/home/me x/home/me", None),
    ],
)
def test_the_home_itself_is_hidden_and_nothing_else(monkeypatch, text, told):
    monkeypatch.setenv("HOME", "/home/me")
    assert notebook_module.without_home(text) == (text if told is None else told)
    monkeypatch.setenv("HOME", "/")
    assert notebook_module.without_home(text) == text


def test_yaml_and_arrays_are_read_by_loaders_that_run_nothing():
    """What they do with hostile files, test_bad_input.py and test_data.py show; here, that there are no others."""
    for path in (ROOT / "normlib").rglob("*.py"):
        source = path.read_text("utf-8")
        assert not re.search(r"yaml\.(?:unsafe_|full_)?load(?:_all)?\((?!.*, _Loader\))", source), path
        assert not re.search(r"pickle\.|allow_pickle=True|\beval\(|\bexec\(|shell=True|os\.system", source), path
