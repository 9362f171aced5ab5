"""What README and docs show is true: configurations are accepted, and the tour prints what it says."""

import re
import subprocess

import pytest

from conftest import ROOT, TARGET
from shown import Shell, blocks, session

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
CONFIGURATIONS = [block for page in PAGES for block in blocks(page) if block.language == "toml"]

# What a fragment needs around it to be a whole configuration: page, how it begins, what goes before, what after.
# A block without a line here is whole.
FRAGMENTS = [
    (
        "docs/prices.md", "[[prices]]",
        '[[providers]]\nname = "azure-eu"\nbase_url = "http://127.0.0.1:9100/v1"\n'
        '[[models]]\nname = "m"\ntargets = [{ provider = "azure-eu", model = "our-deployment" }]\n', "",
    ),
    (
        "docs/providers.md", '[[providers]]\nname = "groq"',
        "", '[[models]]\nname = "m"\ntargets = [{ provider = "groq" }]\n',
    ),
    (
        "docs/providers.md", '[[providers]]\nname = "bedrock"',
        "", '[[models]]\nname = "m"\ntargets = [{ provider = "bedrock" }]\n',
    ),
    (
        "docs/routing.md", "rules = [",
        '[[keys]]\nname = "shop"\nteam = "payments"\nsecret = "env:RINGSIDE_KEY"\n'
        '[[providers]]\nname = "openai"\nbase_url = "http://127.0.0.1:9100/v1"\n'
        '[[models]]\nname = "m"\ntargets = [{ provider = "openai", model = "gpt-4.1" }, { provider = "openai", model = "gpt-5" }]\n',
        '[models.experiment]\nname = "e"\narms = [\n'
        '  { name = "usual", targets = ["openai/gpt-4.1"], weight = 9 },\n'
        '  { name = "newer", targets = ["openai/gpt-5"], weight = 1 },\n]\n',
    ),
    (
        "docs/routing.md", "[models.experiment]",
        '[[providers]]\nname = "openai"\nbase_url = "http://127.0.0.1:9100/v1"\n'
        '[[models]]\nname = "m"\ntargets = [{ provider = "openai", model = "gpt-4.1" }, { provider = "openai", model = "gpt-5" }]\n', "",
    ),
]


def wrapped(block):
    for page, start, before, after in FRAGMENTS:
        if block.page == page and block.text.startswith(start):
            return before + block.text + after
    return block.text


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_a_configuration_that_is_shown_is_accepted(block, tmp_path):
    path = tmp_path / "ringside.toml"
    text = wrapped(block)
    path.write_text(text)
    # Whatever variable is named is set, to something that is long enough for a secret.
    environment = {name: f"secret-of-the-test-{name}" for name in re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", text)}
    done = subprocess.run(
        [TARGET / "ringside", "check", "--config", path], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, f"{block}\n{done.stderr}"


def test_every_fragment_is_still_there():
    for page, start, _, _ in FRAGMENTS:
        assert any(block.page == page and block.text.startswith(start) for block in CONFIGURATIONS), (page, start)


def test_configurations_are_marked_as_toml():
    for page in PAGES:
        for block in blocks(page):
            assert block.language != "" or not block.text.startswith("[["), block


@pytest.fixture
def demo(tmp_path):
    """A shell beside a gateway that was started as `make run` does it: no configuration, no key."""
    shell = Shell(tmp_path)
    shell.run("ringside serve > ringside.log 2> start.log &")
    yield shell
    shell.close()


def test_the_tour_of_the_readme_prints_what_it_shows(demo):
    tour = [block for block in blocks(README) if block.language == "console"]
    assert tour, "the README shows no tour"
    for block in tour:
        demo.check(block)


def test_the_python_of_the_readme_runs_as_it_stands(demo):
    programs = [block for block in blocks(README) if block.language == "python"]
    assert programs
    for number, block in enumerate(programs):
        (demo.folder / f"readme{number}.py").write_text(block.text)
        assert "The capital of France is Paris." in "\n".join(demo.run(f"python readme{number}.py"))


def test_the_gateway_prints_the_tour_of_the_readme(demo):
    """`make run` prints requests to start with: they are those of the README, up to what it pipes them into."""
    printed = re.findall(r"^ +(curl .*)$", (demo.folder / "start.log").read_text(), re.M)
    shown = [
        command.partition(" | ")[0]
        for block in blocks(README) if block.language == "console" for command, _ in session(block.text)
    ]
    assert printed and printed == shown[:len(printed)]


def test_pages_that_are_linked_are_there():
    pages = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "loadtest/README.md", "models/README.md")),
             *sorted((ROOT / "docs/adr").glob("*.md")), *sorted((ROOT / "examples").glob("**/*.md"))]
    broken = []
    for page in pages:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def anchors(page):
    """The anchors of a page's headings and of its `<a id>`, as GitHub makes them."""
    text = page.read_text()
    headings = re.findall(r"^#+ +(.*?)\s*$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    slugs = [re.sub(r"[^\w\- ]", "", re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading)).lower().replace(" ", "-") for heading in headings]
    return {*slugs, *re.findall(r'<a (?:id|name)="([^"]+)"', text)}
