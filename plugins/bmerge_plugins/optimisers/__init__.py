"""Built-in optimisers, one plugin per file. Each imports its library when it is constructed."""
