"""The rule for UNets with the keys of the LDM and SGM code: Stable Diffusion 1, 2 and XL.

What a module is, its keys say; how modules are connected, the code that all these models share:
down, keeping each block's result; through the middle; and up, each block taking in what was kept.
"""

from __future__ import annotations

from collections.abc import Callable

from bmerge.errors import ArchitectureError
from bmerge.rebasin.wiring import FIXED, Axis, Wiring
from bmerge.records import dataclass

__all__ = ["attention", "wire_unet"]


def wire_unet(wiring: Wiring, prefix: str, heads: Callable[[int], int]) -> None:
    """Note how a UNet is wired.

    Args:
        wiring: where to note it.
        prefix: before its keys: ``model.diffusion_model.`` or nothing.
        heads: how many heads an attention of a width has.

    Raises:
        ArchitectureError: if its keys or shapes are those of another model.
    """
    time = wiring.layer(prefix + "time_embed.2", wiring.layer(prefix + "time_embed.0", FIXED))
    if wiring.has(prefix + "label_emb.0.0"):
        label = wiring.layer(prefix + "label_emb.0.0", FIXED)
        wiring.layer(prefix + "label_emb.0.2", label, time)
    unet = _UNet(wiring, time, heads)
    kept: list[Axis] = []
    stream = FIXED
    for block in wiring.numbered(prefix + "input_blocks."):
        stream = unet.block(block, stream)
        kept.append(stream)
    stream = unet.block(prefix + "middle_block.", stream)
    for block in wiring.numbered(prefix + "output_blocks."):
        stream = unet.block(block, stream + kept.pop())
    wiring.norm(prefix + "out.0", stream)
    wiring.layer(prefix + "out.2", stream, FIXED)


def attention(
    wiring: Wiring, name: str, layers: tuple[str, str, str, str], heads: int, *streams: Axis
) -> None:
    """Note an attention.

    Args:
        wiring: where to note it.
        name: of its heads.
        layers: those that make queries, keys and values, and the one that takes the result.
        heads: how many it has.
        streams: what the first three layers take, and what the last one adds to.
    """
    query, key, value, out = layers
    asked, answered = wiring.heads(name, wiring.width(query), heads)
    wiring.layer(query, streams[0], asked)
    wiring.layer(key, streams[1], asked)
    wiring.layer(value, streams[2], answered)
    wiring.layer(out, answered, streams[3])


@dataclass(frozen=True, slots=True)
class _UNet:
    wiring: Wiring
    time: Axis
    heads: Callable[[int], int]

    def block(self, prefix: str, x: Axis) -> Axis:
        """Note the modules of a block one after the other, and return what it gives."""
        wiring = self.wiring
        for part in wiring.numbered(prefix):
            layers = [part + name for name in ("op", "conv") if wiring.has(part + name)]
            if wiring.has(part[:-1]):
                layers.append(part[:-1])
            if wiring.has(part + "in_layers.2"):
                x = self.residual(part, x)
            elif wiring.has(part + "proj_in"):
                self.transformer(part, x)
            elif layers:
                x = wiring.layer(layers[0], x)
            else:
                raise ArchitectureError(f"{part[:-1]!r} is not a module of a Stable Diffusion UNet")
        return x

    def residual(self, prefix: str, x: Axis) -> Axis:
        """Note a residual block that the time embedding shifts."""
        wiring = self.wiring
        wiring.norm(prefix + "in_layers.0", x)
        hidden = wiring.layer(prefix + "in_layers.2", x)
        wiring.layer(prefix + "emb_layers.1", self.time, hidden)
        wiring.norm(prefix + "out_layers.0", hidden)
        skip = prefix + "skip_connection"
        out = wiring.layer(skip, x) if wiring.has(skip) else x
        return wiring.layer(prefix + "out_layers.3", hidden, out)

    def transformer(self, prefix: str, x: Axis) -> None:
        """Note a spatial transformer: a stream of its own between two projections."""
        wiring = self.wiring
        wiring.norm(prefix + "norm", x)
        inner = wiring.layer(prefix + "proj_in", x)
        for block in wiring.numbered(prefix + "transformer_blocks."):
            for name, context in (("attn1.", inner), ("attn2.", FIXED)):
                self.attention(block + name, inner, context)
            gated = wiring.width(block + "ff.net.0.proj") // 2
            hidden = wiring.space(block + "ff", gated)
            wiring.layer(block + "ff.net.0.proj", inner, hidden + hidden)  # value, then gate
            wiring.layer(block + "ff.net.2", hidden, inner)
            for name in ("norm1", "norm2", "norm3"):
                wiring.scale(block + name, inner)
        wiring.layer(prefix + "proj_out", inner, x)

    def attention(self, prefix: str, inner: Axis, context: Axis) -> None:
        """Note an attention of a transformer's stream to itself or to the prompt."""
        layers = prefix + "to_q", prefix + "to_k", prefix + "to_v", prefix + "to_out.0"
        heads = self.heads(self.wiring.width(layers[0]))
        attention(self.wiring, prefix + "heads", layers, heads, inner, context, context, inner)
