from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bmerge.bench import Cost, MergeRow
from bmerge.bench.rows import MergeRows
from bmerge.recipe import BlockWeights

ROW = MergeRow(
    "ties",
    "tuned",
    "abc",
    ("base", "a"),
    {"k": BlockWeights(0.2, {"IN00": 0.3}), "λ": BlockWeights(1.0)},
    {"h00-s1": {"judge": 0.25}},
    Cost(0.5, 0.25, 1 << 20, "native", 400),
)


def test_row_is_read_as_it_was_written(tmp_path):
    MergeRows(tmp_path / "rows.jsonl").add(ROW)
    assert MergeRows(tmp_path / "rows.jsonl").find("ties", "tuned", "abc") == ROW


def test_last_of_equal_rows_counts_and_others_stay(tmp_path):
    rows = MergeRows(tmp_path / "rows.jsonl")
    other = MergeRow("slerp", "defaults", "d", scores={"x": {"judge": 1.0}})
    for row in (other, MergeRow("ties", "tuned", "abc", reason="disk full"), ROW):
        rows.add(row)
    again = MergeRows(tmp_path / "rows.jsonl")
    assert again.find("ties", "tuned", "abc") == ROW
    assert again.find("slerp", "defaults", "d") == other


def test_what_failed_or_is_of_another_body_is_not_found(tmp_path):
    rows = MergeRows(tmp_path / "rows.jsonl")
    rows.add(MergeRow("ties", "tuned", "abc", reason="disk full"))
    rows.add(MergeRow("slerp", "defaults", "old"))
    assert rows.find("ties", "tuned", "abc") is None
    assert rows.find("slerp", "defaults", "new") is None


@given(cut=st.integers(1, 400))
def test_torn_line_is_forgotten_and_written_over(tmp_path_factory, cut):
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    first = MergeRow("slerp", "defaults", "d", scores={"x": {"judge": 1.0}})
    for row in (first, ROW):
        MergeRows(file).add(row)
    data = file.read_bytes()
    torn = data[: -min(cut, len(data.splitlines(keepends=True)[1]))]
    file.write_bytes(torn)
    rows = MergeRows(file)
    assert rows.find("slerp", "defaults", "d") == first
    rows.add(ROW)
    assert file.read_bytes() == data
