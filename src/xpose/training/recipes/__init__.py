"""Recipes: everything a run depends on as typed settings, the parts built from it, and the run in its folder."""
