"""``evaluators`` of the study file: several trials at once, with the same pictures."""

from __future__ import annotations

import json


def test_two_evaluators_make_the_same_trials_and_others_are_refused(bmerge, study_file, example):
    text = study_file.read_text().replace("name: walk", "name: random")
    study_file.write_text(text)
    assert bmerge("run", "study.yaml", *example, "--out", "runs/one").status == 0
    study_file.write_text(f"{text}evaluators: [{{side: 9}}, {{}}]\n")
    refused = bmerge("run", "study.yaml", *example, "--out", "runs/two")
    assert refused.status == 1
    assert "evaluators[0] would make other pictures than the others" in refused.err
    study_file.write_text(f"{text}evaluators: 2\n")
    assert bmerge("run", "study.yaml", *example, "--out", "runs/two").status == 0
    one, two = (
        json.loads(bmerge("studies", "show", f"runs/{name}", "--json").out)["trials"]
        for name in ("one", "two")
    )
    assert [t["params"] for t in one] == [t["params"] for t in two]
    assert [t["values"] for t in one] == [t["values"] for t in two]
    study_file.write_text(f"{text}evaluators: []\n")
    assert "evaluators is empty" in bmerge("run", "study.yaml", *example).err
