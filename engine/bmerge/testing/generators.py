"""What every generator must keep to."""

from __future__ import annotations

from collections.abc import Sequence

from bmerge.evaluate.protocols import Checked, Generator, MergedModel, Payload, Picture

__all__ = ["check_generator"]


def check_generator(
    generator: Generator, models: Sequence[MergedModel], payloads: Sequence[Payload]
) -> None:
    """Check that a generator can be used in a study; it is closed at the end.

    It has the methods that a run calls. It makes one RGB picture for each payload, in their order
    and with the payload that it was given; the same model and payload give the same picture, also
    after another model was loaded, and after a round of pictures that was stopped early. Where it
    has a ``check``, that finds nothing amiss and changes nothing, before the first model and in
    between.

    Args:
        generator: a constructed one.
        models: one or more merged models that it can take.
        payloads: two or more that it can make, with different seeds.

    Raises:
        AssertionError: that says what does not hold.
    """
    for name in ("load", "generate", "close"):
        assert callable(getattr(generator, name, None)), f"it has no method {name}"
    assert models, "give a model"
    assert len(payloads) > 1, "give two payloads or more"
    try:
        _ask(generator)
        first = [_round(generator, model, payloads) for model in models]
        assert len(set(first[0])) > 1, "all pictures are the same, whatever the seed"
        _ask(generator)
        generator.load(models[0])
        stopped = iter(generator.generate(payloads))
        _check_picture(next(stopped), payloads[0])
        del stopped  # the caller may stop asking at any picture
        again = [_round(generator, model, payloads) for model in models]
        assert again == first, "the same model and payloads give other pictures the second time"
        assert list(generator.generate(())) == [], "no payloads must give no pictures"
    finally:
        generator.close()


def _ask(generator: Generator) -> None:
    if isinstance(generator, Checked):
        generator.check(paint=True)


def _round(
    generator: Generator, model: MergedModel, payloads: Sequence[Payload]
) -> tuple[bytes, ...]:
    """Load ``model`` and return the pixels of its pictures."""
    generator.load(model)
    pictures = list(generator.generate(payloads))
    count = len(pictures)
    assert count == len(payloads), f"{count} pictures for {len(payloads)} payloads"
    for picture, payload in zip(pictures, payloads, strict=True):
        _check_picture(picture, payload)
    return tuple(picture.image.tobytes() for picture in pictures)


def _check_picture(picture: Picture, payload: Payload) -> None:
    assert picture.payload == payload, (
        f"{picture.payload.id!r} was made where {payload.id!r} was next"
    )
    mode = picture.image.mode
    assert mode == "RGB", f"the picture is {mode}, not RGB"
    for wanted, got, side in zip(
        (payload.width, payload.height), picture.image.size, ("wide", "high"), strict=True
    ):
        assert wanted in {None, got}, f"the picture is {got} pixels {side}, not {wanted}"
