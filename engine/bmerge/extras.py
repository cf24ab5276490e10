"""What is beyond the light core: the extras, the modules that each brings, and how to ask for one.

Almost the lowest layer. A plugin says which modules it needs, a command simply imports them; both
are answered here, in the same words: what is missing, and the line to type.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, combinations

from bmerge.errors import MissingExtraError

__all__ = ["EXTRAS", "absent", "as_missing_extra", "install_line", "require"]

EXTRAS: dict[str, tuple[str, ...]] = {
    "lora": ("numpy", "threadpoolctl"),
    "study": (
        "optuna", "sqlalchemy", "greenlet", "scipy", "numpy", "nevergrad", "cmaes", "bayes_opt",
        "threadpoolctl", "PIL", "httpx2", "httpcore2", "jinja2", "starlette", "uvicorn",
    ),
    "torch": ("torch", "scipy", "numpy"),
    "scorers": ("torch", "open_clip", "transformers", "safetensors", "scipy", "numpy", "PIL"),
    "diffusers": ("torch", "diffusers", "transformers", "accelerate", "peft", "numpy", "PIL"),
    "postgresql": ("psycopg",),
    "ray": ("ray",),
    "testing": ("torch", "safetensors", "numpy", "PIL"),
}  # fmt: skip
"""Extra of pyproject.toml → the modules that it brings; of two that fit, the first is named."""


def absent(modules: Iterable[str]) -> tuple[str, ...]:
    """Return those modules that are not installed; none is imported.

    Args:
        modules: names of top-level modules.
    """
    import importlib.util

    return tuple(name for name in modules if importlib.util.find_spec(name) is None)


def install_line(modules: Iterable[str]) -> str:
    """Return what to type for modules that are absent: ``pip install 'bmerge[study]'``.

    Args:
        modules: names of top-level modules; those of no extra are named themselves.
    """
    wanted = set(modules)
    others = sorted(wanted.difference(*EXTRAS.values()))
    groups = chain.from_iterable(combinations(EXTRAS, size) for size in range(len(EXTRAS) + 1))
    extras = next(g for g in groups if wanted <= {*others}.union(*(EXTRAS[name] for name in g)))
    own = [f"'bmerge[{','.join(extras)}]'"] if extras else []
    return f"pip install {' '.join([*own, *others])}"


def require(modules: Iterable[str], who: str) -> None:
    """Check that modules are installed.

    Args:
        modules: names of top-level modules.
        who: needs them: ``the optimiser 'cmaes'``.

    Raises:
        MissingExtraError: names those that are missing, and the line to type.
    """
    if missing := absent(modules):
        raise _error(missing, who)


def as_missing_extra(error: BaseException) -> MissingExtraError | None:
    """Return what a failed import means for a user, if a module of an extra is missing.

    Args:
        error: any.
    """
    if isinstance(error, MissingExtraError):
        return error
    if not isinstance(error, ModuleNotFoundError):
        return None
    name = (error.name or "").partition(".")[0]
    return _error((name,), "this") if name in chain(*EXTRAS.values()) and absent((name,)) else None


def _error(missing: tuple[str, ...], who: str) -> MissingExtraError:
    *others, last = missing
    names, verb = (f"{', '.join(others)} and {last}", "are") if others else (last, "is")
    return MissingExtraError(
        f"{who} needs {names}, which {verb} not installed",
        modules=missing,
        hint=install_line(missing),
    )
