"""What is a page of the site besides docs/: documents and files elsewhere in the repository, and the reference.

The README is the front page. What a page links to in the repository is a page as well, at its own path: so a link leads
to the same place here and on GitHub. One that leads nowhere is left to MkDocs, which ends the build.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)[^)\s#]+")  # of [text](link#anchor)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Link to the repository, where it is known, at the foot of each page (`repo_url` would ask GitHub for stars)."""
    if url := os.environ.get("REPOSITORY_URL"):
        config.extra["social"] = [{"icon": "fontawesome/brands/git-alt", "link": url, "name": "The repository"}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, all that it and docs/ lead to in the repository, and the reference, a page for each room."""
    paths = ["README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    for path in paths:  # which grows
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        if path.endswith(".md"):
            found = {target_of(link, path) for link in LINK.findall(text)} - {None, *paths}
            paths += sorted(target for target in found if not target.startswith("docs/"))
        else:
            text = f"# `{path}`\n\n~~~~ {Path(path).suffix[1:]}\n{text}\n~~~~\n"
        if not path.startswith("docs/"):
            files.append(File.generated(config, source_of(path), content=text))
    for name, content in reference():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page to where the site has what they name."""
    source = page.file.src_uri
    path = {"index.md": "README.md"}.get(source, f"docs/{source}" if page.file.generated_by is None else source)

    def lead(link: re.Match[str]) -> str:
        target = target_of(link[0], path)
        return posixpath.relpath(source_of(target), posixpath.dirname(source)) if target else link[0]

    return LINK.sub(lead, markdown)


def target_of(link: str, path: str) -> str | None:
    """Return the file that a link names in a document, both by their paths in the repository; None if there is none."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return target if (REPOSITORY / target).is_file() else None


def source_of(path: str) -> str:
    """Return what a file of the repository is called among the site's sources."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") or path.endswith(".md") else f"{path}.md"


def reference() -> Iterator[tuple[str, str]]:
    """Yield the reference: of each room of the package its name, and a page that mkdocstrings fills."""
    package = REPOSITORY / "cross_thought"
    for room in [package, *sorted(file.parent for file in package.glob("*/__init__.py"))]:
        names = [".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in sorted(room.glob("*.py"))]
        modules = [name for name in names if not name.endswith(("__init__", "__main__"))]
        head = f"::: {'.'.join(room.relative_to(REPOSITORY).parts)}\n    options: {{heading_level: 1}}"
        yield room.name, "\n\n".join([head, *(f"::: {module}" for module in modules)])
