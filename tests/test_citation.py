"""CITATION.cff has pyproject.toml's version, and every paper that code, studies, notebooks and README cite."""

import re
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CITING = [
    path.relative_to(ROOT)
    for pattern in ("README.md", "docs/*.md", "normlib/**/*.py", "normlib/studies/*.yaml", "notebooks/*.ipynb")
    for path in sorted(ROOT.glob(pattern))
]
# The first author and the year of "Wu and He 2018", "He et al. 2016", "Ioffe and Szegedy (2015)" and "Holm 1979".
CITED = re.compile(r"\b([A-Z][A-Za-z-]+)(?:(?:, [A-Z]\w+)*,? and [A-Z]\w+| et al\.)?(?:'s)? \(?((?:19|20)\d\d)\b")
MONTHS = {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November"}


def text(path):
    """Return what a file says, with lines joined; of a notebook, what its cells say."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(ROOT / path, as_version=4).cells
        return " ".join(" ".join(cell.source for cell in cells).split())
    return re.sub(r"\s+(# )?", " ", (ROOT / path).read_text(encoding="utf-8"))


def test_it_is_a_citation_file_of_version_1_2_0():
    """Required keys, and of references, by the schema of the Citation File Format 1.2.0."""
    assert CITATION["cff-version"] == "1.2.0"
    assert {"authors", "message", "title"} <= set(CITATION)
    assert CITATION["type"] == "software"
    for reference in CITATION["references"]:
        assert {"authors", "title", "type"} <= set(reference)
        assert reference["type"] in {"article", "conference-paper"}
        assert all(set(author) == {"family-names", "given-names"} for author in reference["authors"])
        assert isinstance(reference["year"], int)
        assert {"url", "doi", "journal"} & set(reference)


def test_name_version_license_and_authors_are_the_projects():
    assert CITATION["title"] == metadata.metadata("normlib")["Name"]
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert CITATION["version"] == version
    license_text = (ROOT / "LICENSE").read_text()
    assert license_text.startswith(f"{CITATION['license']} License")
    assert CITATION["authors"][0]["name"] in license_text


def test_the_changelog_tells_of_this_version():
    assert re.search(rf"^## .*\b{re.escape(CITATION['version'])}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", CITING, ids=str)
def test_it_has_every_paper_that_is_cited(path):
    cited = text(path)
    there = {reference.get("url", "").rpartition("/")[2] for reference in CITATION["references"]}
    assert set(re.findall(r"(?:arXiv[: ]|arxiv\.org/abs/)(\d{4}\.\d{4,5})\b", cited)) <= there
    there = {(reference["authors"][0]["family-names"], str(reference["year"])) for reference in CITATION["references"]}
    assert {(name, year) for name, year in CITED.findall(cited) if name not in MONTHS} <= there


def test_papers_are_found_as_they_are_written():
    written = "He, Zhang, Ren and Sun 2016, Wu and He (2018), Holm 1979; see Choi et al. 2019 and Wu and He's 2018"
    first = [("He", "2016"), ("Wu", "2018"), ("Holm", "1979"), ("Choi", "2019"), ("Wu", "2018")]
    assert CITED.findall(written) == first
