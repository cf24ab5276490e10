"""Reading of a study file who judges, and what is maximised of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from bmerge.errors import nearest
from bmerge.evaluate.payloads import matches
from bmerge.evaluate.protocols import Payload
from bmerge.recipe.document import Node
from bmerge.study_file.config import ScorerConfig
from bmerge.trials.baselines import model_name
from bmerge.trials.constraint import Constraint
from bmerge.trials.objective import NORMALISATIONS, Normalise, Objective, Objectives
from bmerge.trials.tally import TALLIES, Tally

__all__ = ["SCORER", "read_objectives", "read_scorers"]

SCORER = ("name", "label", "weight", "only", "tally")
"""Keys of a scorer that are not options of its plugin."""
_GREATEST = 1e6  # of weights: sums of scores by greater ones might overflow


def read_scorers(
    node: Node, payloads: Sequence[Payload], *, weighted: bool
) -> tuple[ScorerConfig, ...]:
    """Read the section ``scorers``.

    Args:
        node: the section.
        payloads: of the study.
        weighted: whether the scorers' own weights make the objective.

    Raises:
        RecipeError: for a wrong type, two equal labels, a scorer that judges nothing, or weights
            that make no objective.
    """
    scorers = tuple(_scorer(item, payloads) for item in node.sequence())
    labels = [scorer.label for scorer in scorers]
    for item, label in zip(node.sequence(), labels, strict=True):
        if labels.count(label) > 1:
            raise item.error(f"two scorers have the label {label!r}", "give each its own: label")
        if not weighted and (weight := item.mapping().get("weight")):
            raise weight.error("weights of scorers are given in objectives", "leave it out here")
    if weighted and not any(scorer.weight for scorer in scorers):
        raise node.error("at least one scorer must have a weight other than 0")
    return scorers


def read_objectives(keys: Mapping[str, Node], scorers: Sequence[ScorerConfig]) -> Objectives:
    """Read what is maximised: ``objectives``, ``normalise`` and ``constraints``.

    Args:
        keys: of the whole file.
        scorers: of the study; their weights make the objective if there is no section.

    Raises:
        RecipeError: for an unknown label, an objective without any weight, or a constraint by a
            model that is not tried.
    """
    normalise: Normalise = "none"
    if "normalise" in keys:
        normalise = cast("Normalise", keys["normalise"].text(NORMALISATIONS))
    if "objectives" in keys:
        node = keys["objectives"]
        labels = [scorer.label for scorer in scorers]
        sums = [_objective(name, entry, labels) for name, entry in node.mapping().items()]
        if not sums:
            raise node.error("objectives must name at least one")
    else:
        sums = [Objective("score", {s.label: s.weight for s in scorers if s.weight})]
    constraints = keys["constraints"].sequence() if "constraints" in keys else ()
    return Objectives(
        tuple(sums),
        normalise,
        tuple(_constraint(node, keys, scorers) for node in constraints),
        {scorer.label: scorer.tally for scorer in scorers if scorer.tally != "mean"},
    )


def _scorer(node: Node, payloads: Sequence[Payload]) -> ScorerConfig:
    keys = {key: entry for key, entry in node.mapping().items() if entry.value is not None}
    if "name" not in keys:
        raise node.error(f"{node.name} needs the key 'name'")
    name = keys["name"].text()
    only = keys["only"].texts() if "only" in keys else ()
    if only and not any(p.weight and matches(p, only) for p in payloads):
        known = {tag for p in payloads for tag in p.tags if p.weight}
        message = f"{name} would judge nothing: no payload with a weight has such a tag or id"
        raise keys["only"].error(message, nearest(only[0], known) if known else "give tags: [...]")
    return ScorerConfig(
        name=name,
        label=keys["label"].text() if "label" in keys else name,
        weight=_weight(keys["weight"]) if "weight" in keys else 1.0,
        only=only,
        tally=cast("Tally", keys["tally"].text(TALLIES)) if "tally" in keys else "mean",
        options={key: entry.plain() for key, entry in node.mapping().items() if key not in SCORER},
    )


def _objective(name: str, node: Node, labels: Sequence[str]) -> Objective:
    weights = {label: _weight(entry) for label, entry in node.mapping().items()}
    for label, entry in node.mapping().items():
        if label not in labels:
            raise entry.error(f"no scorer has the label {label!r}", nearest(label, labels))
    if not any(weights.values()):
        raise node.error(f"the objective {name!r} needs a scorer with a weight other than 0")
    return Objective(name, weights)


def _constraint(
    node: Node, keys: Mapping[str, Node], scorers: Sequence[ScorerConfig]
) -> Constraint:
    own = node.mapping(("scorer", "model", "slack"))
    for key in ("scorer", "model"):
        if key not in own:
            raise node.error(f"{node.name} needs the key {key!r}")
    if "baselines" in keys and not keys["baselines"].boolean():
        raise node.error("constraints need the baselines", "leave 'baselines: false' out")
    label, model = own["scorer"].text(), own["model"].text()
    labels = [scorer.label for scorer in scorers]
    if label not in labels:
        raise own["scorer"].error(f"no scorer has the label {label!r}", nearest(label, labels))
    models = keys["merge"].mapping()["models"]
    if isinstance(models.value, dict):
        names = list(models.mapping())
    else:
        names = [model_name(index) for index in range(len(models.sequence()))]
    if model not in names:
        message = f"there is no model {model!r} in the merge: it has {', '.join(names)}"
        raise own["model"].error(message)
    slack = own["slack"].number() if "slack" in own else 0.0
    if not slack >= 0:
        raise own["slack"].error(f"slack must be 0 or more, not {slack:g}")
    return Constraint(label, model, slack)


def _weight(node: Node) -> float:
    weight = node.number()
    if not abs(weight) <= _GREATEST:
        raise node.error(f"a weight must be between -{_GREATEST:g} and {_GREATEST:g}")
    return weight
