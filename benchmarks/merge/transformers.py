"""What checkpoints of Z-Image, SD3.5 medium and Anima hold, written from their hyperparameters.

Each has few of its blocks, since those of a kind are alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from bmerge.testing.layouts import Layout

__all__ = ["anima_layout", "sd3_layout", "z_image_layout"]

_Tensor = tuple[str, tuple[int, ...]]


def z_image_layout(layers: int, dtype: str) -> Layout:
    """Return the layout of a Z-Image of so many layers, of 30, with fused attention."""
    width, time = 3840, 256
    tensors: list[_Tensor] = [
        *_linear("x_embedder", width, 64),
        *_linear("t_embedder.mlp.0", 1024, 256),
        *_linear("t_embedder.mlp.2", time, 1024),
        ("cap_embedder.0.weight", (2560,)),
        *_linear("cap_embedder.1", width, 2560),
        ("x_pad_token", (1, width)),
        ("cap_pad_token", (1, width)),
        *_linear("final_layer.linear", 64, width),
        *_linear("final_layer.adaLN_modulation.1", width, time),
    ]
    for name, count in (("noise_refiner", 2), ("context_refiner", 2), ("layers", layers)):
        for block in range(count):
            prefix = f"{name}.{block}"
            tensors += _z_image_block(prefix, width)
            if name != "context_refiner":
                tensors += _linear(f"{prefix}.adaLN_modulation.0", 4 * width, time)
    return [(f"model.diffusion_model.{key}", dtype, shape) for key, shape in tensors]


def _z_image_block(prefix: str, width: int) -> Iterator[_Tensor]:
    inner = 10240
    yield f"{prefix}.attention.qkv.weight", (3 * width, width)
    yield f"{prefix}.attention.out.weight", (width, width)
    yield f"{prefix}.attention.q_norm.weight", (128,)
    yield f"{prefix}.attention.k_norm.weight", (128,)
    for part, shape in (("w1", (inner, width)), ("w2", (width, inner)), ("w3", (inner, width))):
        yield f"{prefix}.feed_forward.{part}.weight", shape
    for norm in ("attention_norm1", "ffn_norm1", "attention_norm2", "ffn_norm2"):
        yield f"{prefix}.{norm}.weight", (width,)


def sd3_layout(blocks: int, dtype: str) -> Layout:
    """Return the layout of an SD3.5 medium of so many blocks, of 24, the last without its text."""
    width = 1536
    tensors: list[_Tensor] = [
        ("pos_embed", (1, 147456, width)),
        ("x_embedder.proj.weight", (width, 16, 2, 2)),
        ("x_embedder.proj.bias", (width,)),
        *_linear("context_embedder", width, 4096),
        *_linear("final_layer.linear", 64, width),
        *_linear("final_layer.adaLN_modulation.1", 2 * width, width),
    ]
    for name, size in (("t_embedder", 256), ("y_embedder", 2048)):
        tensors += _linear(f"{name}.mlp.0", width, size)
        tensors += _linear(f"{name}.mlp.2", width, width)
    for block in range(blocks):
        prefix, last = f"joint_blocks.{block}", block == blocks - 1
        tensors += _joint_attention(f"{prefix}.context_block.attn", width, with_output=not last)
        tensors += _linear(
            f"{prefix}.context_block.adaLN_modulation.1", (2 if last else 6) * width, width
        )
        tensors += [] if last else _two_layers(f"{prefix}.context_block.mlp", width)
        tensors += _joint_attention(f"{prefix}.x_block.attn", width)
        second = block <= blocks // 2  # 13 of 24
        tensors += _joint_attention(f"{prefix}.x_block.attn2", width) if second else []
        tensors += _two_layers(f"{prefix}.x_block.mlp", width)
        tensors += _linear(
            f"{prefix}.x_block.adaLN_modulation.1", (9 if second else 6) * width, width
        )
    return [(f"model.diffusion_model.{key}", dtype, shape) for key, shape in tensors]


def _joint_attention(prefix: str, width: int, *, with_output: bool = True) -> Iterator[_Tensor]:
    yield from _linear(f"{prefix}.qkv", 3 * width, width)
    yield f"{prefix}.ln_q.weight", (64,)
    yield f"{prefix}.ln_k.weight", (64,)
    if with_output:
        yield from _linear(f"{prefix}.proj", width, width)


def _two_layers(prefix: str, width: int) -> Iterator[_Tensor]:
    yield from _linear(f"{prefix}.fc1", 4 * width, width)
    yield from _linear(f"{prefix}.fc2", width, 4 * width)


def anima_layout(blocks: int, dtype: str) -> Layout:
    """Return the layout of an Anima of so many blocks, of 28, without its adapter of language."""
    width = 2048
    tensors: list[_Tensor] = [
        ("x_embedder.proj.1.weight", (width, 68)),
        ("t_embedder.1.linear_1.weight", (width, width)),
        ("t_embedder.1.linear_2.weight", (3 * width, width)),
        ("t_embedding_norm.weight", (width,)),
        ("final_layer.linear.weight", (64, width)),
        ("final_layer.adaln_modulation.1.weight", (256, width)),
        ("final_layer.adaln_modulation.2.weight", (2 * width, 256)),
    ]
    for block in range(blocks):
        tensors += _anima_block(f"blocks.{block}", width)
    return [(f"net.{key}", dtype, shape) for key, shape in tensors]


def _anima_block(prefix: str, width: int) -> Iterator[_Tensor]:
    for attention, columns in (("self_attn", width), ("cross_attn", 1024)):
        for part, size in (("q", width), ("k", columns), ("v", columns), ("output", width)):
            yield f"{prefix}.{attention}.{part}_proj.weight", (width, size)
        for part in ("q", "k"):
            yield f"{prefix}.{attention}.{part}_norm.weight", (128,)
    yield f"{prefix}.mlp.layer1.weight", (4 * width, width)
    yield f"{prefix}.mlp.layer2.weight", (width, 4 * width)
    for part in ("self_attn", "cross_attn", "mlp"):
        yield f"{prefix}.adaln_modulation_{part}.1.weight", (256, width)
        yield f"{prefix}.adaln_modulation_{part}.2.weight", (3 * width, 256)


def _linear(name: str, rows: int, columns: int) -> Iterator[_Tensor]:
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)
