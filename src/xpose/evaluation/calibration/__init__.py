"""Thresholds and temperatures of weights from labelled pictures: collect samples, fit, measure before and after."""
