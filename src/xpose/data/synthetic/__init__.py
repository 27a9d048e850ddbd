"""Drawn pictures with known keypoints: scenes of toys, and invented shapes."""
