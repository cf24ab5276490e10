"""LoRAs: reading them, finding the tensors that they change, and what they change them by.

Its modules are imported one by one, where they are needed: most merges have no LoRAs, and start
faster without. None imports numpy before a tensor is computed.
"""
