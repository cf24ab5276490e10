"""Files of quantised weights as they are found in public, with tiny shapes and no sense."""

from __future__ import annotations

import json
import math

from bmerge.dtypes import BITS

X = "blocks.0.attn.proj"


def write_layout(path, layout, *, metadata=None, contents=None):
    """Write a safetensors file of [key, dtype, shape]; bytes are 1 but for ``contents``."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for key, dtype, shape in layout:
        filled = (contents or {}).get(key, b"\1" * (math.prod(shape) * BITS[dtype] // 8))
        header[key] = {
            "dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data + filled)]
        }  # fmt: skip
        data += filled
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def beside(dtype, shape, **roles):
    """Return a layer's weight and what lies beside it, with a plain layer after it."""
    return [
        (f"{X}.weight", dtype, shape),
        *((f"{X}.{role}", *entry) for role, entry in roles.items()),
        ("blocks.1.norm.weight", "F16", (8,)),
    ]


def under(**roles):
    """Return tensors of a layer whose weight itself has other names."""
    entries = ((f"{X}.{role.replace('__dot__', '.')}", *e) for role, e in roles.items())
    return [*entries, ("blocks.1.norm.weight", "F16", (8,))]


ONE, ROWS, GRID = ("F32", ()), ("F32", (64, 1)), ("F32", (2, 2))
STATE = f"{X}.weight.quant_state.bitsandbytes__"

LAYOUTS = {
    "scaled fp8 of ComfyUI until 2025": (
        "scaled fp8",
        [("scaled_fp8", "F8_E4M3", (2,)), *beside("F8_E4M3", (64, 64), scale_weight=ONE)],
    ),
    "scaled fp8": ("scaled fp8", beside("F8_E4M3", (64, 64), weight_scale=("F32", (1,)))),
    "scaled fp8 with e5m2": ("scaled fp8", beside("F8_E5M2", (64, 64), weight_scale=ONE)),
    "marker alone": ("scaled fp8", [("te.scaled_fp8", "F8_E4M3", (0,)),
                                    ("te.h.0.weight", "F8_E4M3", (4, 4))]),
    "bare scale": ("scaled fp8", beside("F8_E4M3", (64, 64), scale=ONE)),
    "activations' scale alone": ("scaled fp8", beside("F8_E4M3", (64, 64), input_scale=ONE)),
    "fp8 by rows": ("fp8 with a scale per row", beside("F8_E4M3", (64, 64), weight_scale=ROWS)),
    "DeepSeek": (
        "fp8 with a scale per block", beside("F8_E4M3", (256, 256), weight_scale_inv=GRID)
    ),
    "DeepSeek's own names": (
        "fp8 with a scale per block", beside("F8_E4M3", (256, 256), scale=GRID)
    ),
    "mxfp8": ("mxfp8", beside("F8_E4M3", (64, 64), weight_scale=("U8", (128, 4)))),
    "mxfp8 of powers": ("mxfp8", beside("F8_E4M3", (64, 64), weight_scale=("F8_E8M0", (128, 4)))),
    "nvfp4": (
        "nvfp4",
        beside("U8", (64, 32), weight_scale=("F8_E4M3", (128, 4)), weight_scale_2=ONE),
    ),
    "int8": ("int8", beside("I8", (64, 64), weight_scale=ROWS, input_scale=ONE)),
    "int8 without scales": ("I8 codes without scales", beside("I8", (64, 64))),
    "int8 with zero points": (
        "int8", beside("I8", (64, 64), weight_scale=ROWS, weight_zero_point=("I8", (64, 1)))
    ),
    "w4a8": ("asym_w4a8_int8", beside("I8", (64, 32), weight_s_rel=("U8", (64, 4)),
                                      weight_s_channel=("F32", (64,)))),
    "LLM.int8": ("bitsandbytes int8", beside("I8", (64, 64), SCB=("F32", (64,)))),
    "nf4": (
        "bitsandbytes nf4",
        [*beside("U8", (2048, 1)), (f"{X}.weight.absmax", "F32", (64,)),
         (f"{X}.weight.quant_map", "F32", (16,)), (f"{STATE}nf4", "U8", (4,))],
    ),
    "nested fp4": (
        "bitsandbytes fp4",
        [*beside("U8", (2048, 1)), (f"{X}.weight.absmax", "U8", (64,)),
         (f"{X}.weight.nested_absmax", "F32", (1,)), (f"{STATE}fp4", "U8", (4,))],
    ),
    "nf4 stored as bf16": (
        "bitsandbytes nf4",
        [*beside("BF16", (1024, 1)), (f"{X}.weight.absmax", "F32", (64,)),
         (f"{X}.weight.quant_map", "F32", (16,)), (f"{STATE}nf4", "U8", (4,))],
    ),
    "awq of ComfyUI": ("awq_w4a16", beside("I8", (64, 32), weight_scale=("F16", (1, 64)),
                                           weight_zeros=("F16", (1, 64)))),
    "SDNQ": ("packed codes with scales", beside("U8", (2048,), scale=("BF16", (64, 1)),
                                                zero_point=("BF16", (64, 1)))),
    "ModelOpt": (
        "scaled fp8", [*beside("F8_E4M3", (64, 64)), (f"{X}.weight_quantizer._scale", *ONE),
                       (f"{X}.input_quantizer._amax", *ONE)]),
    "TensorRT-LLM": ("scaled fp8", beside("F8_E4M3", (64, 64), weights_scaling_factor=ONE,
                                          activation_scaling_factor=ONE)),
    "scales of other names": ("scaled fp8", beside("F8_E4M3", (64, 64), wscale=ONE)),
    "a scale that is a layer's": (
        "scaled fp8",
        [*beside("F8_E4M3", (64, 64)), (f"{X}.scale.weight", *ONE)],
    ),
    "a weight that is computed": (
        "scaled fp8",
        [(f"{X}.parametrizations.weight.original", "F8_E4M3", (64, 64)),
         (f"{X}.parametrizations.weight.0.scale", *ONE), ("blocks.1.norm.weight", "F16", (8,))],
    ),
    "SmoothQuant": ("int8", under(int_weight=("I8", (64, 64)), scale=ONE)),
    "QuIP#": ("QuIP#", under(Qidxs=("I16", (64, 8)), SU=("F16", (64,)), SV=("F16", (64,)))),
    "QuIP# of 64 bits": (
        "QuIP#", under(Qidxs=("I64", (64, 2)), SU=("F16", (64,)), SV=("F16", (64,)))
    ),
    "AQLM": ("AQLM", under(codes=("I8", (64, 8, 1)), codebooks=("F16", (1, 256, 1, 8)))),
    "VPTQ": ("VPTQ", under(indices=("I32", (1, 64, 4)),
                           centroids__dot__weight=("F16", (1, 2048)))),
    "GPTQ": (
        "GPTQ", under(qweight=("I32", (8, 64)), qzeros=("I32", (1, 8)), scales=("F16", (1, 64)),
                      g_idx=("I32", (64,)))),
    "GPTQ without order": (
        "GPTQ", under(qweight=("I32", (8, 64)), qzeros=("I32", (1, 8)), scales=("F16", (1, 64)))
    ),
    "AWQ": (
        "AWQ", under(qweight=("I32", (64, 8)), qzeros=("I32", (1, 8)), scales=("F16", (1, 64)))
    ),
    "Nunchaku": ("SVDQuant", under(qweight=("I8", (64, 32)), wscales=("BF16", (1, 64)),
                                   proj_down=("BF16", (64, 4)))),
    "compressed-tensors": (
        "compressed-tensors", under(weight_packed=("I32", (64, 8)), weight_scale=("BF16", (64, 1)),
                                    weight_shape=("I64", (2,)))),
    "HQQ": ("HQQ", under(W_q=("U8", (32, 64)), scale=("F16", (64, 1)), zero=("F16", (64, 1)))),
    "quanto": ("quanto", [(f"{X}.weight._data", "I8", (64, 64)),
                          (f"{X}.weight._scale", "F16", (64, 1))]),
    "quanto in 4 bits": ("quanto", [(f"{X}.weight._data._data", "U8", (64, 32)),
                                    (f"{X}.weight._scale", "F16", (64, 1)),
                                    (f"{X}.weight._shift", "F16", (64, 1))]),
    "torchao before 0.15": ("torchao", [(f"{X}.weight:qdata", "F8_E4M3", (64, 64)),
                                        (f"{X}.weight:scale", "F32", (64, 1))]),
    "torchao": ("torchao", under(_weight_qdata=("I8", (64, 64)), _weight_scale=("F32", (64,)))),
    "MLX": ("U32 codes with scales", beside("U32", (64, 8), scales=("F16", (64, 1)))),
    "experts in mxfp4": (
        "mxfp4", [("mlp.experts.up_blocks", "U8", (4, 8, 2, 16)),
                  ("mlp.experts.up_scales", "U8", (4, 8, 2))]),
    "experts in fp8": (
        "scaled fp8", [("mlp.experts.up", "F8_E4M3", (4, 8, 8)),
                       ("mlp.experts.up_scale", "F32", (1,))]),
}  # fmt: skip
"""What it is → what it is called, and the tensors."""

PLAIN = {
    "a cast": [(f"{X}.weight", "F8_E4M3", (64, 64)), (f"{X}.bias", "F8_E4M3", (64,))],
    "norms of Flux": [
        (f"{X}.weight", "F8_E4M3", (64, 64)),
        ("blocks.0.attn.norm.query_norm.scale", "BF16", (64,)),
        ("blocks.0.attn.norm.key_norm.scale", "F8_E4M3", (64,)),
    ],
    "a whole cast with scales": beside("F8_E4M3", (64, 64), scale=("F8_E4M3", (64,))),
    "scales of vectors": beside("F8_E4M3", (64,), scale=("F32", (64,))),
    "scales of layers": beside(
        "F8_E4M3", (64, 64), layer_scale=ONE, logit_scale=ONE, scale_shift_table=("F32", (6, 64))
    ),
    "weights of quantisers that only watch": [
        (f"{X}.weight", "F16", (64, 64)), (f"{X}.weight_quantizer._amax", "F32", ()),
    ],
    "a norm called scale": [
        *beside("F8_E4M3", (64, 64)), (f"{X}.scale.weight", "F8_E4M3", (64,)),
        ("blocks.1.scale.weight", "F32", (64, 64)),
    ],
    "scales of what is around them": [
        (f"{X}.weight", "F8_E4M3", (64, 64)), ("blocks.0.attn.scale", "BF16", (64,)),
        ("blocks.0.scale", "F32", ()), ("scale_shift_table", "BF16", (6, 64)),
        ("blocks.0.attn.proj_norm.scale", "BF16", (64,)), ("blocks.0.attn.q_scale", "F32", (64,)),
    ],
    "layers that are called so": [
        ("conv.weight", "F8_E4M3", (64, 64)), ("quant_conv.weight", "BF16", (64, 64)),
        ("a.lin.weight", "F8_E4M3", (64, 64)), ("a.scale_lin.weight", "BF16", (64, 64)),
        ("quant_conv.bias", "F8_E4M3", (64,)), ("post_quant_conv.weight", "BF16", (8,)),
    ],
    "scales of columns": beside("F8_E4M3", (64, 32), scale=("F32", (32,))),
    "norms": beside("F16", (64, 64), scale=("F32", (64,)), weight_scale=ONE),
    "counts and places": [
        ("te.embeddings.position_ids", "I64", (1, 77)), ("te.embeddings.weight", "F16", (8, 8)),
        ("bn.num_batches_tracked", "I64", ()), ("bn.weight", "F32", (8,)),
        ("attn.relative_position_index", "I64", (4, 4)), ("attn.logit_scale", "F32", (8, 1, 1)),
        ("attn.mask", "BOOL", (4, 4)), ("te.spiece_model", "U8", (999,)),
        ("mask.weight", "BOOL", (4, 4)), ("order.weight", "I64", (4, 4)),
        ("ids.weight", "I32", (4,)),
        ("h.0.attn.bias", "U8", (1, 1, 8, 8)), ("h.0.attn.c_attn.weight", "F16", (8, 8)),
        ("blocks.0.comfy_attention.config", "U8", (40,)),
    ],
    "a change of weights": [
        ("lora_unet_a.lora_up.weight", "F8_E4M3", (8, 4)),
        ("lora_unet_a.lora_down.weight", "F8_E4M3", (4, 8)),
        ("lora_unet_a.dora_scale", "F32", (8, 1)), ("lora_unet_a.alpha", "I64", ()),
        ("lora_unet_a.scalar", "F32", ()),
    ],
}  # fmt: skip
"""What has no scales of its own, whatever its tensors are called."""
