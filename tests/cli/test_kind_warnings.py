"""Models that do not belong together are told by every command that merges, in either order."""

from __future__ import annotations

import pytest

from bmerge.testing.checkpoints import write_random
from bmerge.testing.layouts import sd1_layout, shrink

LAYOUT = [e for e in shrink(sd1_layout()) if "_blocks." in e[0] and e[0].endswith("weight")][::5]
WORD = "predicts neither"
COMMANDS = {
    "merge": "merge weighted_sum {0} {1} -o out.safetensors",
    "dry run": "merge weighted_sum {0} {1} --dry-run",
    "recipe": "merge recipe.yaml -o out.safetensors",
    "steps": "merge steps.yaml -o out.safetensors",
    "check": "run study.yaml --check",
    "run": "run study.yaml",
}
RECIPE = "method: weighted_sum\nmodels: [{0}, {1}]\n"
STEPS = """
models: {{a: {0}, b: {1}}}
steps:
  same: {{method: weighted_sum, models: [a, a]}}
  picked: {{pick: {{OUT03: b, "*": same}}}}
  out: {{method: weighted_sum, models: [picked, b]}}
"""


@pytest.mark.parametrize("order", [("e", "v"), ("v", "e")], ids=["first", "second"])
@pytest.mark.parametrize("command", COMMANDS)
def test_models_of_two_kinds_are_told_in_either_order(bmerge, study_file, example, command, order):
    folder = study_file.parent
    for name, marks in (("e", []), ("v", [("v_pred", "F16", (1,))])):
        write_random(folder / f"{name}.safetensors", [*LAYOUT, *marks], seed=0)
    names = [f"{name}.safetensors" for name in order]
    text = study_file.read_text().replace("a.safetensors, b.safetensors", ", ".join(names))
    study_file.write_text(text)
    (folder / "recipe.yaml").write_text(RECIPE.format(*names))
    (folder / "steps.yaml").write_text(STEPS.format(*names))
    plugins = example if "run" in COMMANDS[command] else []
    called = bmerge(*COMMANDS[command].format(*names).split(), *plugins)
    assert called.status == 0, called.err
    assert called.err.count(f"warning: {names[0]} ") == called.err.count(WORD) == 1
