"""Optimisers side by side: what each finds on landscapes of known height, by pictures painted.

A landscape stands for a model's quality over the block weights; its pictures are scored as real
ones are, with offsets, the whims of prompts and noise. Trials race by the rules of a real study.
numpy is imported where the modules are: only the command imports those.
"""
