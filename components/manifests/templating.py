"""Text files from `templates/`: one Jinja2 environment whose delimiters mean nothing to the files it writes.

`[[ value ]]`, `[% statement %]` and `[# comment #]` collide neither with Helm's `{{ }}` nor with GitHub Actions'
`${{ }}`, shell's `${ }` and Python's f-strings.
"""

import shlex
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

PROJECT = Path(__file__).resolve().parents[2]
"""The folder that holds `components/`, `templates/` and the Dockerfile."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PROJECT / "templates"),
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        undefined=StrictUndefined,  # a value that is missing is an error here, not an empty word in a script
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  shell, TOML and Markdown: HTML escapes would break them; `sh` quotes for the shell
    )
    environment.filters["sh"] = lambda value: shlex.quote(str(value))
    return environment


def render(template: str, **values: Any) -> str:
    """The text of `templates/<template>`; the filter `sh` quotes a value as one word of a shell command."""
    return _environment().get_template(template).render(values)
