"""The diffusers generator on genuine pipelines, as small as can be, against diffusers' own loader.

Merges are made live in the pipeline; the same merge is written to a file, which diffusers loads
by itself. The pictures must be the same to the last bit.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch

from bmerge import BlockWeights, GeneratorError, Merger, Payload, PluginError, open_checkpoint
from bmerge.architectures import builtin, detect
from bmerge.executors import NativeExecutor
from bmerge.testing import check_generator
from bmerge.testing.checkpoints import (
    read_checkpoint,
    sd1_layout,
    sdxl_layout,
    write_checkpoint,
)
from bmerge_plugins.generators.diffusers import DiffusersGenerator
from bmerge_plugins.pipelines.build import build_pipeline, config_folder
from bmerge_plugins.pipelines.weights import live_weights, parts_of
from merges import METHODS, recipe_of
from tiny_mmdit import FLUX, flux_parameters, flux_tensors, sd3_layout, write_sd3_config
from tiny_pipelines import (
    sd2_layout,
    tiny_sd1,
    tiny_sd2,
    tiny_sdxl,
    write_config,
    write_tiny,
    write_vocabulary,
)

pytestmark = pytest.mark.filterwarnings(  # diffusers' Euler, of torch tensors with numpy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def tiny_sd3(path, seed, dtype="F32"):
    return write_tiny(path, sd3_layout(), seed, dtype)


FAMILIES = {"sd1": tiny_sd1, "sd2": tiny_sd2, "sdxl": tiny_sdxl, "sd3": tiny_sd3}
ALPHA = BlockWeights(0.3, {"IN04": 0.7, "OUT01": 1.0})
SMALL = {"steps": 3, "cfg": 5.0, "width": 64, "height": 64}


@dataclass
class Counting:
    """The native executor, which notes what it was asked to compute."""

    keys: list = field(default_factory=list)
    name: str = "counting"

    def run(self, plan, sink, *, progress=None):
        self.keys += [job.key for job in (*plan.merges, *plan.copies, *plan.fills)]
        return NativeExecutor().run(plan, sink, progress=progress)


@dataclass
class Tiny:
    """Two checkpoints of a family, merged by what a test asks for."""

    folder: object
    family: str
    dtype: str = "F32"
    executor: object = field(default_factory=Counting)
    scales: dict = field(default_factory=dict)

    def __post_init__(self):
        write = FAMILIES[self.family]
        files = [write(self.folder / f"{n}.safetensors", i, self.dtype) for i, n in enumerate("ab")]
        for file in files if self.scales else ():
            tensors = read_checkpoint(file)
            scaled = {key: tensors[key] * np.float32(by) for key, by in self.scales.items()}
            write_checkpoint(file, tensors | scaled)
        checkpoints = [open_checkpoint(file) for file in files]
        config = self.folder / "config"
        flow = self.family == "sd3"
        self.config = write_sd3_config(config) if flow else write_config(config, self.family)
        self.merger = Merger(
            recipe_of(files),
            method=METHODS["weighted_sum"],
            checkpoints=checkpoints,
            architecture=detect(checkpoints[0].tensors, builtin()),
            executor=self.executor,
            scratch=self.folder / "scratch",
        )

    def model(self, alpha):
        return self.merger.model({"alpha": alpha})

    def pipeline(self, alpha):
        """Return the merged file as diffusers loads it."""
        file = self.folder / "merged.safetensors"
        self.merger.write({"alpha": alpha}, file)
        if not (self.config / "tokenizer" / "vocab.json").exists():
            write_vocabulary(self.config)
        names = {"sdxl": "StableDiffusionXLPipeline", "sd3": "StableDiffusion3Pipeline"}
        cls = getattr(diffusers, names.get(self.family, "StableDiffusionPipeline"))
        without = ("text_encoder_3", "tokenizer_3", "image_encoder", "feature_extractor")
        nothing = dict.fromkeys(without if self.family == "sd3" else ())
        pipe = cls.from_single_file(
            str(file), config=str(self.config), local_files_only=True, **nothing
        )
        # In a mapped file tensors lie at odd addresses, where some kernels round otherwise.
        for module in pipe.components.values():
            for parameter in module.parameters() if isinstance(module, torch.nn.Module) else ():
                parameter.data = parameter.data.clone()
        return pipe


def picture(pipe, payload, **options):
    """Return the picture that diffusers makes by itself."""
    image = pipe(
        payload.prompt,
        negative_prompt=payload.negative_prompt or None,
        generator=torch.Generator("cpu").manual_seed(payload.seed),
        num_inference_steps=payload.steps,
        guidance_scale=payload.cfg,
        width=payload.width,
        height=payload.height,
        **options,
    ).images[0]
    return np.asarray(image)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny nets have nothing to share out
    yield
    torch.set_num_threads(before)


@pytest.fixture
def generator():
    made = []

    def make(tiny, **options):
        made.append(DiffusersGenerator(config=str(tiny.config), device="cpu", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def sd1(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("sd1"), "sd1")


@pytest.fixture(scope="module")
def loaded(sd1):
    """A generator with a model, for tests that change nothing of it."""
    one = DiffusersGenerator(config=str(sd1.config), device="cpu")
    one.load(sd1.model(ALPHA))
    yield one
    one.close()


def pixels(pictures):
    return [np.asarray(picture.image) for picture in pictures]


@pytest.mark.parametrize(
    "family",
    ["sd1", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sd2", "sdxl", "sd3"))],
)
def test_a_live_merge_gives_the_picture_of_the_merged_file_to_the_bit(family, tmp_path, generator):
    tiny = Tiny(tmp_path, family)
    payloads = [
        Payload("a", "a photo of a cat", "blurry, ugly", seed=1, **SMALL),
        Payload("b", "a castle on a hill", seed=2, **SMALL),
    ]
    one = generator(tiny)
    alpha = BlockWeights(0.3) if family == "sd3" else ALPHA  # it has other blocks
    one.load(tiny.model(BlockWeights(0.9)))
    one.load(tiny.model(alpha))
    made = pixels(one.generate(payloads))
    assert not list((tmp_path / "scratch").glob("*"))  # no file was made for it
    pipe = tiny.pipeline(alpha)
    for payload, image in zip(payloads, made, strict=True):
        assert image.std() > 10  # a picture, not a plain
        assert np.array_equal(image, picture(pipe, payload))


def test_only_what_changed_is_computed_again(sd1, generator):
    one = generator(sd1)
    one.load(sd1.model(BlockWeights(0.3)))
    sd1.executor.keys.clear()
    one.load(sd1.model(BlockWeights(0.3, {"M00": 0.6})))
    assert sd1.executor.keys
    assert {key.split(".")[2] for key in sd1.executor.keys} == {"middle_block"}
    sd1.executor.keys.clear()
    one.load(sd1.model(BlockWeights(0.3, {"M00": 0.6})))
    assert not sd1.executor.keys


def test_it_is_a_generator(sd1, generator):
    payloads = [Payload(f"p{seed}", "a cat", seed=seed, **SMALL) for seed in range(3)]
    models = [sd1.model(BlockWeights(alpha)) for alpha in (0.2, 0.8)]
    check_generator(generator(sd1, batch=2), models, payloads)


@pytest.mark.parametrize(
    ("family", "layout"),
    [
        ("sd1", sd1_layout()),
        pytest.param("sd2", sd2_layout(), marks=pytest.mark.slow),
        pytest.param("sdxl", sdxl_layout(), marks=pytest.mark.slow),
    ],
    ids=["sd1", "sd2", "sdxl"],
)
def test_the_configurations_are_those_of_the_true_models(family, layout):
    """The parameters that diffusers wants are the tensors of real checkpoints, shapes and all."""
    shapes = {key: shape for key, _, shape in layout}
    parts = parts_of(shapes)
    assert parts.architecture == family
    pipe = build_pipeline(
        config_folder(family, None), parts.components, dtype=torch.float16, device="meta"
    )
    weights = live_weights(pipe, parts, shapes)
    assert {key: tuple(tensor.shape) for key, tensor in weights.state.items()} == shapes
    rest = {key.rsplit(".", 1)[-1] for key in weights.unused if "resblocks.23" not in key}
    assert rest <= {"position_ids", "logit_scale", "text_projection"}


def test_flux_parameters_are_where_the_original_code_has_them():
    transformer = diffusers.FluxTransformer2DModel(**FLUX)
    tensors = flux_tensors(3)
    layout = {key: array.shape for key, array in tensors.items()}
    weights = live_weights(SimpleNamespace(transformer=transformer), parts_of(layout), layout)
    for key, array in tensors.items():
        weights.state[key].copy_(torch.from_numpy(array))
    weights.finish()
    wanted = flux_parameters(dict(tensors))
    found = transformer.state_dict()
    assert set(found) == set(wanted)
    assert not [name for name in wanted if not np.array_equal(found[name], wanted[name])]


def test_a_kind_without_a_configuration_of_its_own_asks_for_one():
    class Flux:
        def layout(self):
            return {key: array.shape for key, array in flux_tensors(0).items()}

    with pytest.raises(GeneratorError, match="no configuration of its own for flux") as caught:
        DiffusersGenerator(device="cpu").load(Flux())
    assert "set config" in caught.value.hint


def test_weights_that_were_moved_are_merged_again(sd1, generator):
    """A pipeline moves and converts its modules itself: to offload them, to decode in float32."""
    payload = Payload("p", "a cat", seed=3, **SMALL)
    one = generator(sd1)
    one.load(sd1.model(BlockWeights(0.9)))
    pipe = one._pipeline._pipe
    for module in (pipe.unet, pipe.vae, pipe.text_encoder):
        module.to(torch.float64)
        module.to(torch.float32)
    one.load(sd1.model(ALPHA))
    fresh = generator(sd1)
    fresh.load(sd1.model(ALPHA))
    moved, wanted = (pixels(each.generate([payload]))[0] for each in (one, fresh))
    assert np.array_equal(moved, wanted)


def test_emphasis_of_web_uis_is_warned_of_once(loaded, caplog):
    payloads = [Payload(f"p{n}", "a (fluffy:1.2) cat", seed=n, **SMALL) for n in range(2)]
    next(loaded.generate(payloads))
    (record,) = (record for record in caplog.records if "plain words" in record.getMessage())
    assert "'(fluffy:1.2)'" in record.getMessage()


def test_tensors_that_no_pipeline_needs_are_left_out(tmp_path, generator):
    files = []
    for seed, name in enumerate("ab"):
        file = tiny_sd1(tmp_path / f"{name}.safetensors", seed, schedule=True, ema=True)
        files.append(file)
    checkpoints = [open_checkpoint(file) for file in files]
    counting = Counting()
    merger = Merger(
        recipe_of(files),
        method=METHODS["weighted_sum"],
        checkpoints=checkpoints,
        architecture=detect(checkpoints[0].tensors, builtin()),
        executor=counting,
        scratch=tmp_path,
    )
    one = DiffusersGenerator(config=str(write_config(tmp_path / "config", "sd1")), device="cpu")
    one.load(merger.model({}))
    kinds = {key.partition(".")[0] for key in counting.keys}
    assert kinds == {"model", "first_stage_model", "cond_stage_model"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be 1 or more, not 0"),
        ({"dtype": "fp12"}, "dtype must be one of 'auto', 'fp32', 'fp16', 'bf16', not 'fp12'"),
        ({"device": "nonsense"}, "the device 'nonsense' cannot be used"),
        ({"offload": True}, "offload needs a GPU"),
        ({"prediction": "noise"}, "must be one of 'epsilon', 'v_prediction' or null, not 'noise'"),
        ({"embeddings": ["/none.pt"]}, "embeddings: there is no file '/none.pt'"),
        ({"loras": {"/none.safetensors": 1}}, "loras: there is no file"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises((GeneratorError, PluginError), match=message):
        DiffusersGenerator(**{"device": "cpu", **options})


def test_without_diffusers_the_error_says_how_to_install_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "diffusers" else find(name)
    )
    with pytest.raises(GeneratorError, match="needs diffusers") as caught:
        DiffusersGenerator()
    assert caught.value.hint == "pip install 'bmerge[diffusers]'"


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"sampler": "Euler b"}, "no sampler 'Euler b'", "'Euler a'"),
        ({"extra": {"scheduler": "karas"}}, "no noise schedule 'karas'", "'karras'"),
        ({"sampler": "DDIM Karras"}, "'DDIM Karras' has no use_karras_sigmas", None),
        ({"extra": {"guidance_rescal": 1}}, "no setting 'guidance_rescal'", "'guidance_rescale'"),
        ({"extra": {"clip_skip": 0}}, "clip_skip is 0", "1 to 2"),
        ({"width": 65}, "divisible by 8", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_the_pipeline_cannot_do_is_refused(loaded, fields, message, hint):
    with pytest.raises(GeneratorError, match=message) as caught:
        list(loaded.generate([Payload("p", "a cat", **{**SMALL, **fields})]))
    assert hint is None or hint in caught.value.hint


@pytest.mark.parametrize(
    "sampler",
    ["DPM++ 2M Karras", "Euler a", "DDIM", "dpm++ 2m sde", "UniPC", "Heun", "LMS", "PLMS"],
)
def test_samplers_go_by_the_names_of_web_uis(loaded, sampler):
    made = list(loaded.generate([Payload("p", "a cat", sampler=sampler, **SMALL)]))
    assert pixels(made)[0].std() > 10
    assert made[0].info["sampler"].endswith("Scheduler")


def test_clip_skip_counts_from_the_end(sd1, loaded):
    usual, skipped = (
        loaded.generate([Payload("p", "a cat", seed=1, extra={"clip_skip": n}, **SMALL)])
        for n in (1, 2)
    )
    assert not np.array_equal(pixels(usual)[0], (image := pixels(skipped)[0]))

    def embedded(text):
        """Return what the last layer but one says of a text."""
        tokens = pipe.tokenizer(text, padding="max_length", return_tensors="pt").input_ids
        states = pipe.text_encoder(tokens, output_hidden_states=True).hidden_states
        return pipe.text_encoder.final_layer_norm(states[-2])

    pipe = sd1.pipeline(ALPHA)
    with torch.no_grad():
        embeddings = {"prompt_embeds": embedded("a cat"), "negative_prompt_embeds": embedded("")}
    wanted = picture(pipe, Payload("p", None, seed=1, **SMALL), **embeddings)
    assert np.array_equal(image, wanted)


def test_a_picture_without_numbers_is_an_error(tmp_path, generator):
    """A merge whose decoder overflows."""
    tiny = Tiny(tmp_path, "sd1", scales={"first_stage_model.decoder.conv_in.weight": 1e38})
    one = generator(tiny)
    one.load(tiny.model(ALPHA))
    with pytest.raises(GeneratorError, match="the picture 'p' holds values") as caught:
        list(one.generate([Payload("p", "a cat", **SMALL)]))
    assert "fp32 or bf16" in caught.value.hint


def test_a_model_that_does_not_fit_the_configuration_is_refused(sd1, tmp_path):
    config = write_config(tmp_path / "other", "sd1", unet={"cross_attention_dim": 64})
    one = DiffusersGenerator(device="cpu", config=str(config))
    with pytest.raises(GeneratorError, match=r"has the shape .* needs") as caught:
        one.load(sd1.model(ALPHA))
    assert "set config" in caught.value.hint


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("model.diffusion_model.", "not a checkpoint of a kind"),
        ("cond_stage_model.", "neither the merge nor .* has the weights of the text_encoder"),
        ("first_stage_model.", "neither the merge nor .* has the weights of the vae"),
        (
            "first_stage_model.decoder.conv_in.bias",
            "nothing for the pipeline's vae.decoder.conv_in.bias",
        ),
    ],
)
def test_an_incomplete_checkpoint_is_refused(sd1, generator, lost, message):
    class Incomplete:
        def layout(self):
            whole = sd1.model(ALPHA).layout()
            return {key: shape for key, shape in whole.items() if not key.startswith(lost)}

    with pytest.raises(GeneratorError, match=message):
        generator(sd1).load(Incomplete())


def test_a_tensor_without_a_place_is_refused(sd1, generator):
    class Larger:
        def layout(self):
            extra = {"model.diffusion_model.middle_block.3.in_layers.0.weight": (64,)}
            return {**sd1.model(ALPHA).layout(), **extra}

    with pytest.raises(GeneratorError, match="no place for 'model.diffusion_model.middle_block.3"):
        generator(sd1).load(Larger())


def test_a_config_folder_without_an_index_is_refused(sd1, tmp_path):
    one = DiffusersGenerator(device="cpu", config=str(tmp_path))
    with pytest.raises(GeneratorError, match=r"there is no .*model_index.json"):
        one.load(sd1.model(ALPHA))


@pytest.fixture
def lora(tmp_path):
    """A LoRA of the UNet and the text encoder, with keys as diffusers saves them."""
    made = np.random.default_rng(5)
    tensors = {}
    for layer, rows, columns in (
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", 32, 32),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", 128, 128),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj", 32, 32),
    ):
        tensors[f"{layer}.lora_A.weight"] = made.standard_normal((4, columns))
        tensors[f"{layer}.lora_B.weight"] = made.standard_normal((rows, 4))
    return write_checkpoint(tmp_path / "style.safetensors", tensors)


def test_a_lora_stays_on_top_of_every_merge(sd1, generator, lora):
    payload = Payload("p", "a cat", seed=3, **SMALL)
    plain = generator(sd1)
    plain.load(sd1.model(ALPHA))
    one = generator(sd1, loras={str(lora): 0.5})
    one.load(sd1.model(BlockWeights(0.9)))
    one.load(sd1.model(ALPHA))
    (image,) = pixels(one.generate([payload]))
    assert not np.array_equal(image, pixels(plain.generate([payload]))[0])

    pipe = sd1.pipeline(ALPHA)
    pipe.load_lora_weights(str(lora), adapter_name="style")
    pipe.set_adapters(["style"], [0.5])
    assert np.array_equal(image, picture(pipe, payload))


def test_a_textual_inversion_keeps_its_word_over_merges(sd1, generator, tmp_path):
    file = tmp_path / "zorgl.safetensors"
    write_checkpoint(file, {"emb_params": np.random.default_rng(1).standard_normal((2, 32))})
    with_word = Payload("p", "a cat, zorgl", seed=3, **SMALL)
    without = Payload("q", "a cat", seed=3, **SMALL)
    plain, one = generator(sd1), generator(sd1, embeddings=[str(file)])
    for each in (plain, one):
        each.load(sd1.model(BlockWeights(0.9)))
        each.load(sd1.model(ALPHA))
    taught = pixels(one.generate([with_word, without]))
    ignorant = pixels(plain.generate([with_word, without]))
    assert not np.array_equal(taught[0], ignorant[0])
    assert np.array_equal(taught[1], ignorant[1])


def test_what_is_no_lora_is_named(sd1, generator, tmp_path):
    file = tmp_path / "none.safetensors"
    file.write_bytes(b"no weights")
    with pytest.raises(GeneratorError, match=r"none.safetensors cannot be loaded"):
        generator(sd1, loras={str(file): 1.0}).load(sd1.model(ALPHA))


@pytest.mark.slow
def test_sdxl_in_half_precision_repeats_its_pictures(tmp_path, generator):
    """Its VAE is converted to float32 for each picture, and back."""
    tiny = Tiny(tmp_path, "sdxl")
    payloads = [Payload(f"p{seed}", "a cat", seed=seed, **SMALL) for seed in range(2)]
    models = [tiny.model(BlockWeights(alpha)) for alpha in (0.2, 0.8)]
    check_generator(generator(tiny, dtype="fp16"), models, payloads)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_is_near(sd1, generator, dtype):
    payload = Payload("p", "a cat", seed=3, **SMALL)
    made = []
    for name in ("fp32", dtype):
        one = generator(sd1, dtype=name)
        one.load(sd1.model(ALPHA))
        made += pixels(one.generate([payload]))
    assert np.abs(made[0].astype(int) - made[1]).mean() < 10


@pytest.mark.slow
def test_a_whole_study_makes_no_file_but_the_best(tmp_path, bmerge):
    Tiny(tmp_path, "sd1")
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "pet.txt").write_text("cat\ndog\n")
    (tmp_path / "study.yaml").write_text(
        "merge: {method: weighted_sum, models: [a.safetensors, b.safetensors]}\n"
        "payloads: {seeds: [1, 2], defaults: {steps: 2, width: 64, height: 64},"
        " prompts: [a __pet__]}\n"
        f"generator: {{name: diffusers, config: {tmp_path / 'config'}, device: cpu, batch: 2}}\n"
        "scorers: [{name: sharpness}]\n"
        "optimiser: {name: random, init_points: 1, n_iters: 1}\n"
    )
    out = tmp_path / "out"
    called = bmerge("run", tmp_path / "study.yaml", "--out", out)
    assert called.status == 0, called.err
    assert "failed" not in called.err
    assert len(list(out.glob("pictures/*/*.png"))) == 2 * 5
    assert [file.name for file in out.rglob("*.safetensors")] == ["best.safetensors"]
