"""Look every version that both locks pin up in the advisory database, with pip-audit: ``make audit``.

pip-audit alone passes over what it could not look up, and what the present Python does not install. Here each pinned
version has to have been looked up; otherwise the lock counts as unchecked, which is a failure.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

LOCKS = [Path(__file__).parent / f"{stack}.txt" for stack in ("addons", "keras3")]
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")


def pins(lock: str) -> dict[str, list[str]]:
    """Return the versions that a lock pins, by package; some have several, for different Pythons and platforms.

    Raises:
        ValueError: A line pins nothing, or the lock does.
    """
    found: dict[str, list[str]] = {}
    for line in lock.splitlines():
        if pin := _PIN.match(line):
            found.setdefault(pin[1].lower(), []).append(pin[2])
        elif line.strip() and not line.lstrip().startswith(("#", "--hash=")):
            raise ValueError(f"a lock whose line pins no version: {line}")
    if not found:
        raise ValueError("a lock without a version")
    return found


def look_up(pinned: Mapping[str, list[str]]) -> list[dict]:
    """Return what pip-audit says of each version, as its JSON has it; nothing of those that it did not get to."""
    said: list[dict] = []
    for versions in itertools.zip_longest(*pinned.values()):  # pip-audit takes one version of a package at a time
        chosen = [f"{name}=={version}\n" for name, version in zip(pinned, versions, strict=True) if version]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.writelines(chosen)
            file.flush()
            options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
            command = [sys.executable, "-m", "pip_audit", *options, "--requirement", file.name]
            done = subprocess.run(command, capture_output=True, text=True)
        # Its exit code says no more than what it prints; where it cannot reach the database at all, that is an error.
        if done.stdout.strip():
            said += json.loads(done.stdout)["dependencies"]
        else:
            print(f"pip-audit: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    return said


def judge(pinned: Mapping[str, list[str]], said: Iterable[Mapping]) -> tuple[list[str], list[str]]:
    """Return the vulnerabilities found, a line each, and the versions that were not looked up."""
    looked_up = {(entry["name"], entry["version"]): entry["vulns"] for entry in said if "vulns" in entry}
    found, unchecked = [], []
    for name, version in ((name, version) for name, versions in pinned.items() for version in versions):
        if (name, version) not in looked_up:
            unchecked.append(f"{name} {version}")
        for entry in looked_up.get((name, version), ()):
            fixed = f"fixed in {', '.join(entry['fix_versions'])}" if entry["fix_versions"] else "not fixed"
            found.append(f"{name} {version}: {' '.join([entry['id'], *entry['aliases']])}, {fixed}")
    return found, unchecked


def main() -> None:
    """Audit the locks; exit code 1 where a vulnerability is known, or a version could not be looked up."""
    bad = False
    for lock in LOCKS:
        pinned = pins(lock.read_text(encoding="utf-8"))
        found, unchecked = judge(pinned, look_up(pinned))
        count = sum(map(len, pinned.values()))
        print(*(f"{lock.name}: {line}" for line in found), sep="\n", end="\n" if found else "")
        if unchecked:
            why = "the advisory database cannot be reached, or does not have them"
            print(f"{lock.name}: NOT CHECKED, {len(unchecked)} of {count} versions ({unchecked[0]}, ...): {why}")
        elif not found:
            print(f"{lock.name}: {count} versions looked up, no known vulnerability")
        bad = bad or bool(found or unchecked)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
