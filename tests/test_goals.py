"""The table of goals that `make bench` ends in."""

import pytest
from benchmarks.goals import goals, held


@pytest.mark.parametrize(
    ("goal", "found", "verdict"),
    [(">= 5", 5.0, True), (">= 5", 4.9, False), ("<= 0.02", 0.02, True), ("<= 0.02", 0.03, False)],
)
def test_a_goal_is_held_or_missed(goal, found, verdict):
    assert held(goal, found) is verdict


def test_every_goal_is_answered_by_the_committed_results():
    rows = list(goals())
    assert len({what for what, _, _ in rows}) == len(rows) == 18
    assert all(found is not None and found > 0 for _, _, found in rows)
