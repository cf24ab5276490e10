"""The scorer of the embedded demo: does the picture show what the prompt asked for?

A small classifier, trained on the same drawn world as the demo model but apart from it. It
judges pictures of the demo only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bmerge import Picture, ScorerError, ScorerKind, hookimpl
from bmerge_plugins.demo import words
from bmerge_plugins.needs import PIXELS


class DemoJudge:
    """Scores P(colour of the prompt) · P(shape of the prompt), 0 … 1.

    A prompt that names only one of the two is scored by that one. Torch is imported and the
    judge loaded when it is constructed.
    """

    def __init__(self) -> None:
        from bmerge_plugins.demo.judge import Judge

        self._judge = Judge.load()

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return the judge's probability that each picture is as its prompt says.

        Raises:
            ScorerError: if a prompt names neither a colour nor a shape that the judge knows.
        """
        prompts = [picture.payload.prompt for picture in pictures]
        for prompt in prompts:
            if words.find_colour(prompt) is None and words.find_shape(prompt) is None:
                raise ScorerError(
                    f"the demo judge finds no colour and no shape in the prompt {prompt!r}",
                    blame="study",
                    hint=f"it knows {', '.join(words.COLOURS + words.SHAPES)}",
                )
        return self._judge.score([picture.image for picture in pictures], prompts)


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the demo's judge."""
    return [
        ScorerKind(
            "demo_judge",
            DemoJudge,
            "colour and shape as the prompt says, 0 … 1",
            needs=("torch", *PIXELS),
        )
    ]
