"""A loaded CLIP model: pictures and prompts go in, embeddings of length 1 come out.

Scorers that share a model ask for the same pictures one after the other, and the prompts are the
same in every trial. So the newest embeddings are kept, found by the pixels and the words.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bmerge_plugins.batches import FittingBatches, MemoryGauge
from bmerge_plugins.torch_options import memory_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Array = NDArray[np.float64]
    Encode = Callable[[Sequence[Any]], Array]

__all__ = ["Tower"]

_KEPT = 1024  # embeddings of 8 kB at most


class Tower:
    """Both towers of a CLIP model.

    Args:
        model: an open_clip model in evaluation mode.
        preprocess: RGB picture → tensor, channels × height × width.
        tokenizer: makes the tokenizer; called when the first prompt is met.
        device: where the model is.
        dtype: that its image tower takes.
    """

    def __init__(
        self,
        model: Any,
        preprocess: Callable[[Image], Any],
        tokenizer: Callable[[], Callable[[list[str]], Any]],
        *,
        device: str,
        dtype: Any,
    ) -> None:
        self._model = model
        self._preprocess = preprocess
        self._make_tokenizer = tokenizer
        self._tokenizer: Callable[[list[str]], Any] | None = None
        self._device = device
        self._dtype = dtype
        self._pictures = _Memory()
        self._prompts = _Memory()

    @property
    def logit_scale(self) -> float:
        """The factor, learnt with the model, by which cosines were multiplied in training."""
        return float(self._model.logit_scale.exp())

    @property
    def memory(self) -> MemoryGauge | None:
        """The memory of the device where the model is, if it tells of it."""
        return memory_of(self._device)

    def pictures(self, images: Sequence[Image], *, batches: FittingBatches) -> Array:
        """Return one embedding for each picture.

        Args:
            images: of any size and mode.
            batches: how many go through the model at a time.

        Returns:
            n × width, each of length 1.
        """
        keys = [_digest(image) for image in images]
        return self._pictures.get(keys, images, batches, self._encode_pictures)

    def prompts(self, texts: Sequence[str], *, batches: FittingBatches) -> Array:
        """Return one embedding for each prompt; as :meth:`pictures`."""
        return self._prompts.get(texts, texts, batches, self._encode_prompts)

    def _encode_pictures(self, images: Sequence[Image]) -> Array:
        import torch

        pixels = torch.stack([self._preprocess(image.convert("RGB")) for image in images])
        with torch.inference_mode():
            features = self._model.encode_image(pixels.to(self._device, self._dtype))
        return _normalised(features)

    def _encode_prompts(self, texts: Sequence[str]) -> Array:
        import torch

        if self._tokenizer is None:
            self._tokenizer = self._make_tokenizer()
        with torch.inference_mode():
            features = self._model.encode_text(self._tokenizer(list(texts)).to(self._device))
        return _normalised(features)


class _Memory:
    """The newest embeddings by what they were made of."""

    def __init__(self) -> None:
        self._known: OrderedDict[object, Array] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self, keys: Sequence[object], items: Sequence[Any], batches: FittingBatches, encode: Encode
    ) -> Array:
        import numpy as np

        with self._lock:  # scorers of several evaluators share a tower
            found = self._found(keys, items, batches, encode)
        return np.stack([found[key] for key in keys]) if keys else np.empty((0, 0))

    def _found(
        self, keys: Sequence[object], items: Sequence[Any], batches: FittingBatches, encode: Encode
    ) -> dict[object, Array]:
        found = {key: self._known[key] for key in keys if key in self._known}
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in found}
        made = batches.map(encode, list(missing.values()))
        found.update(zip(missing, made, strict=True))
        self._keep(found)
        return found

    def _keep(self, found: dict[object, Array]) -> None:
        for key, value in found.items():
            self._known[key] = value
            self._known.move_to_end(key)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)


def _digest(image: Image) -> bytes:
    """Return what tells a picture from others; palettes and such are taken in by conversion."""
    pixels = image.convert("RGB")
    return hashlib.blake2b(pixels.tobytes() + repr(pixels.size).encode()).digest()


def _normalised(features: Any) -> Array:
    import numpy as np

    values: Array = features.double().cpu().numpy()
    lengths: Array = np.linalg.norm(values, axis=1, keepdims=True)
    return values / lengths
