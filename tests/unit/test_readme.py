"""README and docs/ are true, as far as a test can check."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "AGENTS", "CHANGELOG", "SECURITY")
]
PAGES += (ROOT / "docs").glob("*.md")
PAGES += [ROOT / "examples" / "README.md", *(ROOT / "examples").glob("[!.]*/README.md")]
ON_GITHUB = "https://github.com/roarkhq/roark-analytics-python-livekit/blob/main/"


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def test_each_fault_in_the_docs_is_a_test() -> None:
    """Its name stands in the last column, and is there to be run."""
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    tests = set(re.findall(r"^ *(?:async )?def (test_\w+)\(", "\n".join(sources), re.MULTILINE))
    named = [row[-1].strip("` ") for row in rows_of("delivery.md", "Faults")]
    assert len(named) >= 28 and len(set(named)) == len(named)
    assert [name for name in named if name not in tests] == []


def test_each_of_the_faults_is_in_the_docs() -> None:
    """The docstring of the test that a row names says which of them it proves."""
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    proven: set[int] = set()
    for row in rows_of("delivery.md", "Faults"):
        name = row[-1].strip("` ")
        text = re.split(rf"^ *(?:async )?def {name}\(", sources, flags=re.MULTILINE)[1]
        numbers = re.findall(r"fault (\d+)", text.split('"""')[1])
        assert numbers, f"{name} does not say which fault it proves"
        proven.update(map(int, numbers))
    assert proven == set(range(1, 40))


def test_each_option_and_variable_in_the_docs_exists() -> None:
    """Nothing is promised that is not there."""
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    pages = "\n".join(path.read_text("utf-8") for path in PAGES)
    variables = set(re.findall(r"`(ROARK_[A-Z_]+)", pages))
    assert len(variables) >= 4
    for name in variables:
        assert name in sources, name
    options = [row[0] for row in rows_of("options.md", "Options of `observe_session`")]
    assert len(options) >= 12
    for name in re.findall(r"`(\w+)`", "".join(options)):
        assert name in sources, name


def test_each_link_into_this_repository_leads_somewhere() -> None:
    """To a file that is there, and a heading that it has; mkdocs checks only the links in docs/."""
    links = [(page, link) for page in PAGES for link in links_of(page)]
    assert len(links) >= 30
    broken = [f"{page.name}: {link}" for page, link in links if not leads_somewhere(page, link)]
    assert broken == []


def test_each_action_is_pinned_by_its_commit() -> None:
    """A tag can be moved, and one of them publishes."""
    workflows = "\n".join(
        path.read_text("utf-8") for path in (ROOT / ".github" / "workflows").iterdir()
    )
    used = re.findall(r"uses: (\S+)", workflows)
    assert len(used) >= 10
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []


def links_of(page: Path) -> list[str]:
    """The targets of a page's links, without those to other sites."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    return [link for link in targets if link.startswith(ON_GITHUB) or "://" not in link]


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether the file and the heading are there."""
    path, _, anchor = link.removeprefix(ON_GITHUB).partition("#")
    base = ROOT if link.startswith(ON_GITHUB) else page.parent
    target = base / path if path else page
    if not target.exists():
        return False
    headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE) if anchor else []
    return not anchor or anchor in [slug(heading) for heading in headings]


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub and mkdocs make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
