"""Studies: proposing merges, evaluating them, storing what came of it.

Only the protocols are re-exported here, because plugins need them and they cost nothing to
import; the rest is imported from its own module, where a study is really run.
"""

from bmerge.study.protocols import Optimiser, Parameter, Result, Space

__all__ = ["Optimiser", "Parameter", "Result", "Space"]
