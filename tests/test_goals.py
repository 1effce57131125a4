"""The table of goals that `make bench` ends in."""

from benchmarks.goals import goals, met


def test_a_goal_is_met_or_missed():
    assert met(">= 5", 5.0) and not met(">= 5", 4.9) and met("<= 0.02", 0.02) and not met("<= 0.02", 0.03)


def test_every_goal_has_a_committed_measurement():
    rows = list(goals())
    assert len({what for what, _, _ in rows}) == len(rows) > 0
    assert all(value is not None and value > 0 for _, _, value in rows)
