"""What mkdocs calls while it builds the site: pages with a source elsewhere, links between them, and no network.

README, the logs and the model card are pages of the site as they are; the command line's page is made of the commands.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from lalm_agent.cli.main import make_app

ROOT = Path(__file__).parents[1]
SOURCES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "log.md": "LOG.md",
    "model_card.md": "agent/models/mini/README.md",
    "credits.md": "examples/real/CREDITS.md",
}
"""The pages whose source is outside docs/."""
COMMANDS = "commands.md"
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
LOADED = re.compile(r"""<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*>"""
                    r"""|<link\b(?![^>]*rel=["']?canonical)[^>]*\bhref=["']?(?:https?:)?//[^>]*>""")  # fmt: skip


class Fields(griffe.Extension):
    """Show the lines `name: what it is` of a docstring as a list."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Write the docstring as Markdown that says so."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^([a-z_][\w, ]*): (?=\S)", r"- `\1`: ", obj.docstring.value)


def on_config(config: MkDocsConfig) -> None:
    """Put the pages that the menu forgets last into "How to"."""
    listed = set(re.findall(r"[\w/]+\.md", str(config.nav)))
    pages = sorted(path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md"))
    (how_to,) = [entry["How to"] for entry in config.nav or [] if "How to" in entry]
    how_to.extend(page for page in pages if page not in listed)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages whose source is elsewhere."""
    for page, source in SOURCES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    for path in (ROOT / "examples").rglob("*"):
        if path.suffix in (".py", ".txt"):  # pages link to them
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    files.append(File.generated(config, COMMANDS, content=command_line()))


def command_line() -> str:
    """Every command with its arguments and options, as `--help` says them."""
    command: Any = typer.main.get_command(make_app())
    context = typer.Context(command, info_name="lalm-agent")
    text = get_docs_for_click(obj=command, ctx=context, name="lalm-agent", title="Command line")
    return re.sub(r"(`[^`]*`)|<", lambda match: match[1] or "&lt;", text)  # <NAME> in prose is no HTML


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links between files of the repository lead to pages of the site."""
    source = SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pages = {path: name for name, path in SOURCES.items()}

    def in_site(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        target = pages.get(path, path.removeprefix("docs/"))
        return posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(in_site, markdown)


def on_post_page(output: str, page: Page, **_: Any) -> None:
    """Refuse a page that would fetch something from another host.

    Raises:
        PluginError: naming the page and the element.
    """
    for element in LOADED.findall(output):
        raise PluginError(f"{page.file.src_uri} loads from another host: {element}")
