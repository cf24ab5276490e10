"""Is the demo's result real? Its merges on pictures and seeds that the search never saw."""
