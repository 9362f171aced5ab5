"""The examples print what their READMEs show."""

import pytest

from conftest import ROOT
from shown import Shell, blocks

PAGES = sorted((ROOT / "examples").glob("*/README.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_an_example_prints_what_its_page_shows(page, tmp_path):
    shown = [block for block in blocks(page) if block.language == "console"]
    assert shown, f"{page} shows no commands"
    shell = Shell(tmp_path)
    try:
        for block in shown:
            shell.check(block)
    finally:
        shell.close()


def test_every_example_is_listed():
    listed = (ROOT / "examples/README.md").read_text()
    assert PAGES
    for page in PAGES:
        assert f"({page.parent.name}/README.md)" in listed
