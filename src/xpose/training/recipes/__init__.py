"""Recipes: the typed settings a run depends on, the parts built from them, and the run in its folder."""
