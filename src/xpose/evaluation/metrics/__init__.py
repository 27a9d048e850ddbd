"""The metrics, one small module each: `update(truth, found)` per picture, `compute()` at the end.

To add one, write a module here with a class of these two methods, export it from `xpose.evaluation`, and add its
definition to docs/evaluation-metrics.md and a case computed by hand to tests/evaluation/metrics.
"""
