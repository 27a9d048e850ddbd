"""The metrics: `update(truth, predicted)` for each picture, `compute()` at the end.

To add one, write a class with these two methods, export it from `xpose.evaluation`, and add its definition to
docs/evaluation-metrics.md and a case computed by hand to tests/evaluation/metrics.
"""
