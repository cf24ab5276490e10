"""``bmerge schema``: JSON schemas of study and recipe files, for editors."""

from __future__ import annotations

import click

from bmerge.cli.output import print_json
from bmerge.cli.session import Session, shared_options
from bmerge.schema import recipe_schema, study_schema

__all__ = ["command"]

_SCHEMAS = {"recipe": recipe_schema, "study": study_schema}


@click.command("schema")
@click.argument("kind", type=click.Choice(sorted(_SCHEMAS)))
@shared_options
@click.pass_obj
def command(session: Session, *, kind: str) -> None:
    """Print the JSON schema of study or recipe files.

    An editor that knows it completes keys, offers the names of methods, generators, scorers and
    their options, plugins' included, and marks what is wrong. A file names its schema in a comment:
    `# yaml-language-server: $schema=study.schema.json`.

    \b
    Examples:
      bmerge schema study > study.schema.json
      bmerge schema recipe --plugin my_method.py > recipe.schema.json
    """
    print_json(_SCHEMAS[kind](session.registry()))
