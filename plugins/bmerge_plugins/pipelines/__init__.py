"""What the ``diffusers`` generator is made of: pipelines whose weights are merged in place.

A checkpoint has the keys of the code that the model was first published with; diffusers' modules
name their parameters otherwise. Here are the rules that lead from the one to the other, and what
ties a pipeline's parameters to the tensors that a merge writes.
"""
