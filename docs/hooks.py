"""What mkdocs.yml adds to the pages of docs/: other Markdown files of the repository, and a page for each command.

Links between all of these are paths in the repository, so that they also work on GitHub. In the site they lead to the
page of that file if there is one, and otherwise to the file on GitHub.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from xpose import cli
from xpose.cli import _app

ROOT = Path(__file__).parents[1]
CARDS = (ROOT / "src/xpose/model/bundled").glob("*/*")
# File of the repository -> its place in the site
BORROWED = {
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    **{
        path.relative_to(ROOT).as_posix(): f"cards/{path.parent.name}/{path.name}"
        for path in CARDS
        if path.suffix in (".md", ".jpg", ".png")
    },
}
LIST_OF_COMMANDS = re.compile(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n")
LINK = re.compile(r"(?<=\]\()[^)\s#]+|(?<=\]: )[^\s#]+")


def on_config(config: MkDocsConfig) -> None:
    """Put the pages of the commands into the navigation."""
    (reference,) = (section["Reference"] for section in config.nav if "Reference" in section)
    reference.append({"Commands": [f"commands/{name}.md" for name in cli.COMMANDS]})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the files that are not in docs/."""
    for source, place in BORROWED.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    application = _app.build(cli.COMMANDS)
    for name, command in application.commands.items():
        text = get_docs_for_click(obj=command, ctx=typer.Context(application), call_prefix="xpose")
        text = LIST_OF_COMMANDS.sub("", text)  # with shortened sentences; their sections follow anyway
        files.append(File.generated(config, f"commands/{name}.md", content=text))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Turn paths in the repository into links of the site or of GitHub."""
    place = page.file.src_uri
    sources = {place: source for source, place in BORROWED.items()}
    folder = dirname(sources.get(place, f"docs/{place}"))

    def target(match: re.Match[str]) -> str:
        path = normpath(join(folder, match[0]))
        if path in BORROWED or (path.startswith("docs/") and (ROOT / path).is_file()):
            return relpath(BORROWED.get(path, path.removeprefix("docs/")), dirname(place) or ".")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{config.extra['repository']}/{kind}/main/{path}" if (ROOT / path).exists() else match[0]

    return LINK.sub(target, markdown)
