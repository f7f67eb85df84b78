"""What is written by a program is written anew where its source has changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from jobs.catalogue.catalogue import Catalogue
from ops import cli
from ops.documents import models, settings
from ops.models.published import read
from ops.settings import CHECKOUT
from workers.families.registry import families

ROWS = re.findall(r"^\| `(IMAGEMILL_\w+)` \| .* \| (.*) \|$", settings.document(), re.MULTILINE)


def test_page_of_settings_is_that_of_the_code() -> None:
    assert settings.FILE.read_text("utf-8") == settings.document(), "write it anew: make docs"


def test_page_of_models_is_that_of_the_source() -> None:
    page = models.FILE.read_text("utf-8")
    assert page == models.document(page), "write it anew: make docs"
    for block in models.BLOCKS.values():
        assert block() in page


def test_every_entry_to_copy_is_one_of_a_catalogue(tmp_path: Path) -> None:
    copied = re.findall(r"^```toml\n(.*?)^```", models.FILE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "models.toml").write_text("\n".join(copied), "utf-8")
    catalogue = Catalogue.read(tmp_path / "models.toml")
    assert {*read()["published"]} < {*catalogue.models}
    assert {model.family for model in catalogue.models.values()} <= {*families()}
    assert {*read()["families"]} == {*families()} - {"simulated"}


@pytest.mark.parametrize(("variable", "description"), ROWS)
def test_every_setting_says_what_it_is(variable: str, description: str) -> None:
    assert description.endswith("."), variable


def test_every_setting_that_the_code_reads_is_there() -> None:
    listed = {variable for variable, _ in ROWS}
    prefixes = {str(each.model_config["env_prefix"]) for each in settings.CLASSES}
    rooms = [*CHECKOUT.glob("*/settings.py"), *CHECKOUT.glob("*/**/settings.py")]
    read = {found for file in rooms for found in re.findall(r'env_prefix="(IMAGEMILL_\w*)"', file.read_text("utf-8"))}
    assert read == prefixes
    assert {"IMAGEMILL_REDIS_URL", "IMAGEMILL_S3_BUCKET", "IMAGEMILL_WORKER_GRACE_S"} <= listed


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text("utf-8"))
    for target, anchor in links:
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(file), f"{page.name}: {target}#{anchor}"


def test_readme_stays_short() -> None:
    assert len((CHECKOUT / "README.md").read_text("utf-8").split()) <= 1_100


@pytest.mark.parametrize("page", [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")], ids=lambda page: page.name)
def test_every_command_in_a_sentence_is_one(page: Path) -> None:
    for named in re.findall(r"`\./imagemill ((?:[a-z][\w-]*\s*)+)", page.read_text("utf-8")):
        command: Any = get_command(cli.app)
        for word in named.split():
            if not hasattr(command, "commands"):
                break  # Its arguments.
            assert word in command.commands, f"{page.name}: ./imagemill {named}"
            command = command.commands[word]
