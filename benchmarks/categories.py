"""Write `categories.json` for trained weights: what they have learned, with its quality on the split `val`.

    python benchmarks/categories.py WEIGHTS --data DIR

Training writes the file by itself, with the quality on its validation pictures. This program makes it for weights that
lack it, or measures the quality on all pictures of `val`: text prompts, one picture at a time, without thresholds, as
many detections as the picture has objects of the category. WEIGHTS must contain the recipe.toml of the training, and
DIR the sets; `--only NAME` names them if DIR contains others that the recipe does not exclude.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import xpose
from xpose.data.loading.pool import read_places
from xpose.model.checkpoints.categories import LearnedCategory, with_quality, write_categories
from xpose.training.recipes.assembly import training_pool
from xpose.training.recipes.learned import learned_categories
from xpose.training.recipes.recipe import load_recipe
from xpose.training.recipes.validation import PoseValidator
from xpose.training.reporting.report import RECIPE_FILE


def main() -> None:
    """Write the file, print the categories."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a set; may be repeated")
    given = parser.parse_args()
    categories = measured_categories(given.weights, given.data, given.only)
    write_categories(given.weights, categories)
    for category in categories:
        measures = category.quality.measures if category.quality else {}
        figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in measures.items())
        print(f"{category.name} ({category.skeleton}): {category.objects} objects; {figures or 'not measured'}")


def measured_categories(weights: Path, data: Path, only: Sequence[str]) -> tuple[LearnedCategory, ...]:
    """The categories of the recipe next to the weights, with the quality on the split `val`."""
    recipe = load_recipe(weights / RECIPE_FILE)
    pool = training_pool(replace(recipe.data, places=(str(data),), only=tuple(only) or recipe.data.only))
    detector = xpose.load(weights, engine="torch")
    pictures = [
        (record, place)
        for record, place in read_places(data, "val")
        if record.source in pool.sets and any(instance.keypoints for instance in record.instances)
    ]
    validator = PoseValidator(pictures, detector.prompts, calibration=detector.calibration)
    return with_quality(learned_categories(pool), validator(detector.model).quality)


if __name__ == "__main__":
    main()
