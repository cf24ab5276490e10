"""Draw :class:`~bmerge.report.data.ReportData` as one HTML file.

All but the gallery is in the file itself, pictures as WebP; the gallery's pictures lie beside it,
in the study's folder, and are loaded when somebody scrolls there. Style, drawings and script come
from templates, which escape every text.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from urllib.parse import quote

from PIL import Image, WebPImagePlugin  # noqa: F401  else Pillow imports all its formats

from bmerge.logs import logger
from bmerge.pages import environment
from bmerge.report.data import ReportData, Shot
from bmerge.report.parts import parts

__all__ = ["TEMPLATES", "picture", "render"]

TEMPLATES = Path(__file__).parent / "templates"


def render(data: ReportData) -> tuple[str, tuple[str, ...]]:
    """Return the page as text, and the names of what it had to leave out.

    Args:
        data: what to show; prompts of which a picture is missing or damaged are left out.
    """
    lost = list(data.lost)
    known: dict[tuple[Path, int], str] = {}

    def embedded(shot: Shot, side: int) -> str:
        if (shot.file, side) not in known:
            known[shot.file, side] = _embedded(shot, side, lost)
        return known[shot.file, side]

    values = parts(data, embedded, lambda shot: quote(shot.name))
    text = environment(TEMPLATES).get_template("page.html").render(values, lost=lost)
    return text, tuple(dict.fromkeys(lost))


def picture(path: Path, side: int) -> str:
    """Return a picture as a data URI, its longer side reduced to ``side`` pixels."""
    with Image.open(path, formats=["PNG"]) as image:
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=1.5)
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "WEBP", quality=88, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _embedded(shot: Shot, side: int, lost: list[str]) -> str:
    """Return a picture as a data URI; of a damaged one nothing but its name among the lost."""
    try:
        return picture(shot.file, side)
    except Exception as error:  # noqa: BLE001  Pillow raises many for files cut off or made up
        logger(__name__).debug("%s is left out", shot.file, exc_info=error)
        lost.append(shot.name)
        return ""
