"""The audit of the locks never calls clean what it did not look up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import scripts

SCRIPT = Path(__file__).parent.parent / "requirements" / "audit.py"


@pytest.fixture(scope="module")
def audit():
    return scripts.load("audit", SCRIPT.parent)


LOCK = """numpy==1.26.4 ; python_full_version < '3.12' \\
    --hash=sha256:aa
numpy==2.4.6 ; python_full_version >= '3.12' \\
    --hash=sha256:bb
PyYAML==6.0.2 \\
    --hash=sha256:cc
"""
PINNED = {"numpy": ["1.26.4", "2.4.6"], "pyyaml": ["6.0.2"]}
CLEAN = [
    {"name": "numpy", "version": "1.26.4", "vulns": []},
    {"name": "numpy", "version": "2.4.6", "vulns": []},
    {"name": "pyyaml", "version": "6.0.2", "vulns": []},
]


def test_the_versions_for_all_pythons_are_pins(audit):
    assert audit.pins(LOCK) == PINNED


@pytest.mark.parametrize("lock", ["", "# nothing\n", LOCK + "numpy[extra]==1.0\n", LOCK + "mine @ file:///mine.whl\n"])
def test_a_lock_that_pins_nothing_or_has_a_line_that_does_not_is_none(audit, lock):
    with pytest.raises(ValueError, match="a lock "):
        audit.pins(lock)


def test_a_vulnerability_is_named_with_what_fixes_it(audit):
    found = {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.5.0"]}
    said = [CLEAN[0], {**CLEAN[1], "vulns": [found, {**found, "fix_versions": []}]}, CLEAN[2]]
    assert audit.judge(PINNED, said) == (
        ["numpy 2.4.6: PYSEC-1 CVE-2026-1, fixed in 2.5.0", "numpy 2.4.6: PYSEC-1 CVE-2026-1, not fixed"],
        [],
    )


@pytest.mark.parametrize(
    ("said", "unchecked"),
    [
        (CLEAN, []),
        ([], ["numpy 1.26.4", "numpy 2.4.6", "pyyaml 6.0.2"]),
        (CLEAN[1:], ["numpy 1.26.4"]),
        ([*CLEAN[:2], {"name": "pyyaml", "skip_reason": "not found"}], ["pyyaml 6.0.2"]),
        ([*CLEAN[:2], {"name": "pyyaml", "version": "6.0.1", "vulns": []}], ["pyyaml 6.0.2"]),
    ],
    ids=["all", "nothing", "another version only", "passed over", "an older one"],
)
def test_what_was_not_looked_up_is_unchecked(audit, said, unchecked):
    assert audit.judge(PINNED, said) == ([], unchecked)


@pytest.mark.long
def test_without_the_database_both_locks_are_unchecked_and_it_fails():
    """The real pip-audit, which has no way out."""
    offline = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
    environment = {**os.environ, **offline, "NO_PROXY": "", "no_proxy": ""}
    done = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == [
        "addons.txt: NOT CHECKED",
        "keras3.txt: NOT CHECKED",
    ]
    assert "no known vulnerability" not in done.stdout
