"""The README tells the truth, as far as a test can tell."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def rows_of(heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def test_each_fault_in_the_readme_is_a_test() -> None:
    """Its name stands in the last column, and is there to be run."""
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    tests = set(re.findall(r"^ *(?:async )?def (test_\w+)\(", "\n".join(sources), re.MULTILINE))
    named = [row[-1].strip("` ") for row in rows_of("When something goes wrong")]
    assert len(named) >= 28 and len(set(named)) == len(named)
    assert [name for name in named if name not in tests] == []


def test_each_of_the_28_faults_is_in_the_readme() -> None:
    """The docstring of the test that a row names says which of them it proves."""
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    proven: set[int] = set()
    for row in rows_of("When something goes wrong"):
        name = row[-1].strip("` ")
        text = re.split(rf"^ *(?:async )?def {name}\(", sources, flags=re.MULTILINE)[1]
        numbers = re.findall(r"fault (\d+)", text.split('"""')[1])
        assert numbers, f"{name} does not say which fault it proves"
        proven.update(map(int, numbers))
    assert proven == set(range(1, 29))


def test_each_option_and_variable_in_the_readme_exists() -> None:
    """Nothing is promised that is not there."""
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    for name in re.findall(r"`(ROARK_[A-Z_]+)`", README):
        assert name in sources, name
    for row in rows_of("Options of `observe_session`"):
        for name in re.findall(r"`(\w+)`", row[0]):
            assert name in sources, name
