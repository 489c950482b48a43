"""Histograms of durations beside a sorted list."""

from __future__ import annotations

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from llmspell_hookspecs.durations import Durations, Percentiles

TIMES = st.lists(st.floats(1e-9, 1e4), min_size=1, max_size=200)


def noted(times: list[float]) -> Durations:
    durations = Durations()
    for time_s in times:
        durations.note(time_s)
    return durations


@given(TIMES)
def test_percentiles_are_at_most_an_eighth_above_what_they_stand_for(times: list[float]) -> None:
    found = noted(times).percentiles

    ordered = sorted(times)
    for share, told in ((0.5, found.p50_s), (0.95, found.p95_s), (0.99, found.p99_s)):
        exact = ordered[ceil(len(ordered) * share) - 1]
        assert exact <= told <= exact * 1.126
    assert (found.count, found.max_s) == (len(times), ordered[-1])


@given(TIMES, TIMES)
def test_two_that_are_merged_are_as_one_that_noted_all(first: list[float], second: list[float]) -> None:
    both = noted(first)
    both.merge(noted(second))

    assert both.percentiles == noted([*first, *second]).percentiles


def test_nothing_noted_is_nothing_told_and_a_clock_that_stepped_back_counts_as_no_time() -> None:
    durations = Durations()

    assert durations.percentiles == Percentiles()
    durations.note(-3.0)
    assert durations.percentiles == Percentiles(1)
    durations.note(2.0)
    assert durations.percentiles.max_s == 2.0
