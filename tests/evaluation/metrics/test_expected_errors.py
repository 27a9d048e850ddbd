"""Expected errors of points: the rank correlation against cases computed by hand and scipy's own."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tests.evaluation.cases import found, labelled, pose, record

from xpose.evaluation import ExpectedErrors
from xpose.evaluation.metrics.expected_errors import rank_correlation


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=15))
def test_the_rank_correlation_is_scipys(pairs):
    one, other = (np.array([pair[i] for pair in pairs], dtype=float) for i in (0, 1))
    value = rank_correlation(one, other)
    if len(pairs) < 2 or len(set(one)) < 2 or len(set(other)) < 2:
        assert math.isnan(value)
    else:
        assert value == pytest.approx(spearmanr(one, other).statistic)


def predicted(answer, *errors):
    return dataclasses.replace(answer, keypoint_errors=np.array(errors, dtype=float))


def test_by_hand():
    """True errors 1, 2 and 5; the tail base has no label and the right eye of the second dog no place."""
    truth = record(labelled(nose=(10, 10), left_eye=(20, 20), right_eye=(30, 30)))
    answer = found(pose(nose=(11, 10), left_eye=(20, 22), right_eye=(33, 34), tail_base=(1, 1)))
    for errors, value in (((1, 2, 3, 0), 1.0), ((3, 2, 1, 9), -1.0), ((2, 1, 3, 9), 0.5)):
        metric = ExpectedErrors()
        metric.update(truth, predicted(answer, errors))
        assert metric.compute() == {"error correlation": pytest.approx(value), "error points": 3}
    metric.update(truth, predicted(found(pose(nose=(19, 10))), (9, 1, 1, 1)))
    assert metric.compute()["error points"] == 4


def test_weights_that_predict_no_errors_have_no_number():
    metric = ExpectedErrors()
    metric.update(record(labelled(nose=(1, 1))), found(pose(nose=(1, 1))))
    assert math.isnan(metric.compute()["error correlation"])
    assert metric.compute()["error points"] == 0
