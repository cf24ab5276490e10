from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bmerge.bench import Cost, Row
from bmerge.bench.rows import Rows
from bmerge.recipe import BlockWeights

ROW = Row(
    "ties",
    "tuned",
    "abc",
    ("base", "a"),
    {"k": BlockWeights(0.2, {"IN00": 0.3}), "λ": BlockWeights(1.0)},
    {"h00-s1": {"judge": 0.25}},
    Cost(0.5, 0.25, 1 << 20, "native", 400),
)


def test_row_is_read_as_it_was_written(tmp_path):
    Rows(tmp_path / "rows.jsonl").add(ROW)
    assert Rows(tmp_path / "rows.jsonl").find("ties", "tuned", "abc") == ROW


def test_last_of_equal_rows_counts_and_others_stay(tmp_path):
    rows = Rows(tmp_path / "rows.jsonl")
    other = Row("slerp", "defaults", "d", scores={"x": {"judge": 1.0}})
    for row in (other, Row("ties", "tuned", "abc", reason="disk full"), ROW):
        rows.add(row)
    again = Rows(tmp_path / "rows.jsonl")
    assert again.find("ties", "tuned", "abc") == ROW
    assert again.find("slerp", "defaults", "d") == other


def test_what_failed_or_is_of_another_body_is_not_found(tmp_path):
    rows = Rows(tmp_path / "rows.jsonl")
    rows.add(Row("ties", "tuned", "abc", reason="disk full"))
    rows.add(Row("slerp", "defaults", "old"))
    assert rows.find("ties", "tuned", "abc") is None
    assert rows.find("slerp", "defaults", "new") is None


@given(cut=st.integers(1, 400))
def test_torn_line_is_forgotten_and_written_over(tmp_path_factory, cut):
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    first = Row("slerp", "defaults", "d", scores={"x": {"judge": 1.0}})
    for row in (first, ROW):
        Rows(file).add(row)
    data = file.read_bytes()
    torn = data[: -min(cut, len(data.splitlines(keepends=True)[1]))]
    file.write_bytes(torn)
    rows = Rows(file)
    assert rows.find("slerp", "defaults", "d") == first
    rows.add(ROW)
    assert file.read_bytes() == data
