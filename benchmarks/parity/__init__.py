"""Our merge methods beside those of sd-meh, sd-mecha and mergekit, on the same random tensors."""
