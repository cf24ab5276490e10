"""A small but real text-to-image diffusion model, so that bmerge can show all it does at once.

``words`` (the prompts it knows), ``assets`` (three checkpoints in SD1's layout: a base and two
fine-tunes that are each good at one thing), ``model``, ``sampler``, ``renderer`` and ``judge``.
``benchmarks/demo_training`` makes every file of ``assets`` anew.  This package imports no torch;
``model``, ``sampler`` and ``judge`` do.
"""
