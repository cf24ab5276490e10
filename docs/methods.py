"""Writes ``docs/methods.md`` and ``docs/methods/`` from the methods' docstrings: ``make docs``.

The pictures on the pages are painted by ``docs/pictures.py``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from bmerge import Hyperparameter, MergeMethod, load_registry
from bmerge.method import ContentKind, option_text

DOCS = Path(__file__).resolve().parent

INTRODUCTION = """\
# Merge methods

<!-- Written by docs/methods.py from the methods' docstrings; `make docs` writes it again. -->

`bmerge methods` lists them, `bmerge merge METHOD --help` shows one. Every hyperparameter may have
a value per block. Formulas are for the tensors of one key, in float32. Each page has pictures by
the demo's models; `bmerge bench methods` compares the methods on your own ([bench.md](bench.md)).

- **per model**: the hyperparameter has one value for each of the further models: `weight` sets
  all of them, `weight_1`, `weight_2`, … that of the first, second, … one.
- **options** choose between forms of a method. They are the same for all blocks and not searched:
  `--vote count` on the command line, `options: {vote: count}` in a recipe.
- **taken of the models**: a number that follows from all tensors of the models. It takes a pass
  over them before the merge, which `--dry-run` tells of; a study measures once.
- **torch only**: the method needs a whole tensor at once (to sort it, for a Fourier transform or a
  singular value decomposition). All others also run in the native executor, which streams tensors
  of any size through little memory.
- Where α = 0 or 1 makes a method one of its models, that model's bytes are copied.
- Random numbers follow from the recipe's `seed` and the tensor's key, and are the same on every
  executor and for any number of threads.
"""

TOOLS = {
    "sd-meh": """
        weighted_sum weighted_subtraction tensor_sum add_difference sum_twice triple_sum
        euclidean_add_difference multiply_difference top_k_tensor_sum similarity_add_difference
        distribution_crossover ties_add_difference
    """,
    "supermerger": """
        Weight~sum=weighted_sum Add~difference=add_difference Triple~sum=triple_sum
        sum~Twice=sum_twice trainDifference=train_difference smoothAdd=smooth_add extract
        tensor=tensor_sum tensor2=tensor_columns self=passthrough plus~random=add_noise
        Adjust=adjust cosineA=cosine_a cosineB=cosine_b
    """,
    "sd-mecha": """
        weighted_sum n_average=linear slerp add_difference operator~+=add scale=passthrough
        add_perpendicular
        train_difference_mask=train_difference add_opposite_mask=add_opposite
        add_strict_opposite_mask=add_strict_opposite geometric_sum multiply_quotient add_cosine_a
        add_cosine_b crossover clamp tensor_sum top_k_tensor_sum rotate truncate_rank
        truncate_kronecker add_difference_ties=ties ties_sum=ties
        add_difference_ties_extended=ties_extended add_ties_with_dare=ties_with_dropout
        model_stock n_model_stock=model_stock
        geometric_median dropout ties_sum_extended=ties_extended
        ties_sum_with_dropout=ties_with_dropout
    """,
    "mergekit": """
        linear slerp nuslerp nuslerp~with~a~base=nuslerp_from_base multislerp
        multislerp~with~a~base=multislerp_from_base karcher task_arithmetic ties dare_linear
        dare_ties della della_linear breadcrumbs breadcrumbs_ties model_stock sce nearswap
        arcee_fusion passthrough ram ramplus_tl
    """,
    "Chattiori's merger": """
        WS=weighted_sum AD=add_difference sAD=smooth_add MD=multiply_difference
        SIM=similarity_add_difference TD=train_difference TS=tensor_sum ST=sum_twice
        TRS=triple_sum cosine0=cosine_a cosine1=cosine_b SIG=sigmoid_sum GEO=geometric_sum
        MAX=maximum DARE=dare_linear
    """,
    "untitledmerger": """
        Comparative~interpolation=comparative_interpolation Weight-sum~cutoff=weight_sum_cutoff
    """,
}
"""Other tools' names (``~`` is a space), where they differ with ours after an equals sign."""

NATIVE = "native (streams tensors of any size), or torch on the CPU or a GPU"
TORCH = "torch only, on the CPU or a GPU, one whole tensor at a time"


def methods() -> list[MergeMethod]:
    """Return bmerge's own methods, by name."""
    catalogue = load_registry().methods
    own = [m for m in catalogue.values() if m.function.__module__.startswith("bmerge_plugins.")]
    return sorted(own, key=lambda method: method.name)


def pages() -> dict[Path, str]:
    """Return file → text: the list of all methods, and a page for each."""
    index = "\n".join([INTRODUCTION, *_index(), *_tools()]).rstrip() + "\n"
    numbers = settings()
    texts = {DOCS / "methods.md": index}
    for method in methods():
        lines = _page(method, numbers.get(method.name, {}))
        texts[DOCS / "methods" / f"{method.name}.md"] = "\n".join(lines).rstrip() + "\n"
    return texts


def settings() -> Mapping[str, Mapping[str, float]]:
    """Return method → the hyperparameters of the second merge on its picture."""
    text = (DOCS / "methods" / "settings.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, float]] = yaml.safe_load(text)
    return found


def _index() -> Iterator[str]:
    yield "## All methods\n"
    yield "| method | models | what it does |"
    yield "|---|---|---|"
    for method in methods():
        yield f"| {_link(method.name)} | {_models(method)} | {method.summary} |"


def _tools() -> Iterator[str]:
    yield "\n## Other tools' names\n"
    for tool, text in TOOLS.items():
        pairs = [word.partition("=") for word in text.split()]
        names = (
            f"{theirs.replace('~', ' ')} → {_link(ours)}" if ours else _link(theirs)
            for theirs, _, ours in pairs
        )
        yield f"- **{tool}**: {', '.join(names)}"
    yield "\n[other-tools.md](other-tools.md) tells where else to find what other tools have.\n"


def _link(name: str) -> str:
    return f"[{name}](methods/{name}.md)"


def _models(method: MergeMethod) -> str:
    names = ", ".join(method.model_names)
    return f"{names}, …".removeprefix(", ") if method.variadic else names


def _page(method: MergeMethod, numbers: Mapping[str, float]) -> Iterator[str]:
    summary, _, rest = method.doc.partition("\n")
    body, _, rest = rest.partition("\nArgs:\n")
    arguments, _, source = rest.partition("\nSource:")
    yield f"# {method.name}\n"
    yield "<!-- Written by docs/methods.py from the docstring; `make docs` writes it again. -->\n"
    yield f"{summary}\n"
    yield f"{_body(body)}\n"
    yield "\n".join(_parameters(method, arguments))
    yield f"\nSource: {_joined(source)}\n"
    if method.aliases:
        yield f"Other names: {', '.join(f'`{name}`' for name in method.aliases)}.\n"
    yield f"Executor: {TORCH if method.opaque else NATIVE}.\n"
    yield f"![{method.name} on the demo's models]({method.name}.webp)\n"
    yield f"{_caption(method, numbers)}\n"
    yield "[All methods](../methods.md)"


def _caption(method: MergeMethod, numbers: Mapping[str, float]) -> str:
    """Return what the picture shows."""
    base = " and the base that both were trained from" if _takes_base(method) else ""
    values = ", ".join(f"{name} = {value:g}" for name, value in numbers.items())
    tuned = f", and at {values}" if values else ""
    return (
        f"The same prompts and seed in every row: the demo's parents *shapes* and *colours*{base}; "
        f"their merge by {method.name} at its defaults{tuned}."
    )


def _takes_base(method: MergeMethod) -> bool:
    """Tell whether its merge of the demo's models takes their base, or differences to it."""
    return bool({"base", "c"} & set(method.model_names)) or ContentKind.DIFFERENCE in method.takes


def _body(text: str) -> str:
    """Return paragraphs, with the formula set off."""
    paragraphs = [_joined(part) for part in re.split(r"\n\s*\n", text) if part.strip()]
    formula = re.compile(r"^Formula(.*?): (.*)$")
    return "\n\n".join(formula.sub(r"> **Formula\1:** `\2`", part) for part in paragraphs)


def _parameters(method: MergeMethod, text: str) -> Iterator[str]:
    """Yield a line for each model, hyperparameter and option."""
    about = {
        entry.partition(":")[0].strip(): _joined(entry.partition(":")[2])
        for entry in re.split(r"\n(?=    \w)", textwrap.dedent(f"\n{text}").replace("\n", "\n    "))
        if ":" in entry
    }
    numbers = {h.name: _number(h) for h in method.hyperparameters}
    options = {
        o.name: f"{' or '.join(map(option_text, o.choices))}; default {option_text(o.default)}"
        for o in method.options
    }
    taken = dict.fromkeys((s.name for s in method.statistics), "taken of the models")
    for name, words in about.items():
        extra = numbers.get(name) or options.get(name) or taken.get(name)
        yield f"- `{name}`: {words}" + (f" *({extra})*" if extra else "")


def _number(h: Hyperparameter) -> str:
    limits = [f"at least {h.minimum:g}"] if h.minimum is not None else []
    limits += [f"at most {h.maximum:g}"] if h.maximum is not None else []
    parts = [f"default {h.default:g}", f"searched from {h.low:g} to {h.high:g}", *limits]
    return ", ".join([*parts, "per model"] if h.per_model else parts)


def _joined(text: str) -> str:
    return " ".join(text.split())


def write() -> None:
    """Write all pages, and remove those of methods that are gone."""
    texts = pages()
    for file in {*(DOCS / "methods").glob("*.md")} - set(texts):
        file.unlink()
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
