"""Two runs side by side: numbers computed by hand, intervals that behave, pictures paired, exit codes."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from xpose import cli
from xpose.errors import ConfigError
from xpose.evaluation.compare import compare
from xpose.evaluation.run_file import EvaluationRun, RunObject, RunPicture, write_run


def run(pictures, mean="objects", name="PCK@0.2", **changes):
    """A run of pictures given as (key, set, [(category, points, value), ...])."""
    listed = tuple(
        RunPicture(key, own, tuple(RunObject(str(n), c, k, {name: v}) for n, (c, k, v) in enumerate(objects)))
        for key, own, objects in pictures
    )
    made = EvaluationRun(
        protocol="p", settings={}, weights="w", summary={name: math.nan}, means={name: mean}, pictures=listed
    )
    return dataclasses.replace(made, **changes)


def single(values, prefix="", own="s"):
    return [(f"{prefix}{number}", own, [("dog", 1, float(value))]) for number, value in enumerate(values)]


A = [("1", "x", [("dog", 1, 1.0), ("cat", 3, 0.0)]), ("2", "x", [("dog", 4, 0.5)]), ("3", "y", [("cat", 2, 1.0)])]


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        ("objects", (1 + 0 + 0.5 + 1) / 4),
        ("points", (1 * 1 + 3 * 0 + 4 * 0.5 + 2 * 1) / 10),
        ("categories", ((1 + 0.5) / 2 + (0 + 1) / 2) / 2),
        ("sets", ((1 + 0 + 0.5) / 3 + 1) / 2),
    ],
)
def test_numbers_are_computed_from_the_rows_as_the_run_says(mean, expected):
    (row, *sets) = compare(run(A, mean), run(A, mean), draws=200).rows
    assert row.first == row.second == pytest.approx(expected)
    assert (row.difference, row.low, row.high, row.verdict) == (0, 0, 0, "")
    assert [one.name for one in sets] == ["PCK@0.2/set/x", "PCK@0.2/set/y"]
    if mean == "sets":
        assert [one.first for one in sets] == [pytest.approx(0.5), 1]


def test_the_same_step_on_every_picture_is_certain_though_pictures_differ():
    values = np.random.default_rng(0).random(60) / 2
    (row,) = compare(run(single(values)), run(single(values + 0.01))).rows
    assert row.low == pytest.approx(0.01)
    assert row.high == pytest.approx(0.01)
    assert row.verdict == "better"


def test_unpaired_pictures_hide_the_same_small_step():
    values = np.random.default_rng(0).random(60) / 2
    result = compare(run(single(values)), run(single(values + 0.01, "other")))
    assert result.pictures == 0
    assert result.rows[0].low < 0 < result.rows[0].high
    assert result.rows[0].difference == pytest.approx(0.01)
    assert "different pictures" in result.notes[0]


def test_the_interval_is_as_wide_as_the_theory_says():
    random = np.random.default_rng(1)
    first, second = random.normal(0.5, 0.1, 400), random.normal(0.52, 0.1, 400)
    (row,) = compare(run(single(first)), run(single(second)), draws=4000).rows
    spread = 1.96 * (second - first).std() / math.sqrt(400)
    assert row.low == pytest.approx(row.difference - spread, abs=0.1 * spread)
    assert row.high == pytest.approx(row.difference + spread, abs=0.1 * spread)


def test_pictures_are_drawn_within_their_sets():
    # The sets differ wildly, but within each nothing varies: so the mean over objects cannot vary either.
    pictures = [*single([0.0] * 9, "a", "a"), *single([1.0] * 3, "b", "b")]
    better = [*single([0.1] * 9, "a", "a"), *single([1.0] * 3, "b", "b")]
    row = compare(run(pictures), run(better)).rows[0]
    assert (row.low, row.high) == (pytest.approx(0.075), pytest.approx(0.075))


def test_rounding_is_no_difference():
    values = np.random.default_rng(0).random(30)
    (row,) = compare(run(single(values)), run(single(values + 1e-15))).rows
    assert row.verdict == ""


def test_the_same_seed_draws_the_same():
    random = np.random.default_rng(2)
    one, other = run(single(random.random(30))), run(single(random.random(30)))
    assert compare(one, other, seed=3) == compare(one, other, seed=3)
    assert compare(one, other, seed=3) != compare(one, other, seed=4)


def test_lower_errors_are_better():
    worse = compare(run(single([0.1] * 9), name="NME"), run(single([0.2] * 9), name="NME")).rows[0]
    assert worse.verdict == "worse"
    assert compare(run(single([5.0] * 9), name="EPE"), run(single([4.0] * 9), name="EPE")).rows[0].verdict == "better"


def test_pictures_of_only_one_run_are_left_out_and_told():
    result = compare(run(single([0.0, 0.0, 0.0])), run(single([1.0, 1.0])))
    assert result.pictures == 2
    assert "1 pictures are in only one" in result.notes[0]
    assert result.rows[0].difference == 1


def test_numbers_that_do_not_come_from_rows_have_no_interval():
    one, other = (
        run(single([0.5] * 3), summary={"PCK@0.2": 0.5, "AP": ap, "AP/category/dog": ap}) for ap in (0.4, 0.3)
    )
    rows = {row.name: row for row in compare(one, other).rows}
    assert set(rows) == {"PCK@0.2", "AP"}
    assert rows["AP"].difference == pytest.approx(-0.1)
    assert (math.isnan(rows["AP"].low), rows["AP"].verdict) == (True, "")


def test_values_that_are_missing_do_not_count():
    holes = [("1", "s", [("dog", 1, math.nan), ("dog", 1, 0.5)]), ("2", "s", [])]
    assert compare(run(holes), run(holes), draws=50).rows[0].first == 0.5
    nothing = run([("1", "s", [])])
    assert math.isnan(compare(nothing, nothing).rows[0].first)


def test_other_settings_are_told_and_other_protocols_refused():
    one = run(single([0.5]))
    other = dataclasses.replace(one, settings={"flip": True})
    assert compare(one, other).notes == ("flip differs: not stated and True",)
    with pytest.raises(ConfigError, match='"p", the second of "q"'):
        compare(one, dataclasses.replace(one, protocol="q"))


@pytest.fixture
def files(tmp_path):
    values = np.random.default_rng(0).random(20) / 2
    for name, shift in (("a", 0.0), ("b", 0.1)):
        pictures = [*single(values + shift, "x", "x"), *single(values + shift, "y", "y")]
        write_run(tmp_path / f"{name}.json", run(pictures, "sets", weights=f"weights-{name}"))
    return str(tmp_path / "a.json"), str(tmp_path / "b.json")


def test_the_command(files, capsys):
    assert cli.main(["compare", *files]) == 0
    printed = capsys.readouterr().out
    assert "weights-b" in printed
    assert "+0.1000" in printed
    assert "better" in printed
    assert "/set/" not in printed
    assert cli.main(["compare", *files, "--json", "--sets"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["numbers"]] == ["PCK@0.2", "PCK@0.2/set/x", "PCK@0.2/set/y"]
    assert told["numbers"][0]["interval"] == [pytest.approx(0.1), pytest.approx(0.1)]
    assert told["paired pictures"] == 40


def test_folders_stand_for_their_runs(files, tmp_path, capsys):
    folders = [tmp_path / "old", tmp_path / "new"]
    for folder, file in zip(folders, files, strict=True):
        folder.mkdir()
        (folder / "run.json").write_bytes(Path(file).read_bytes())
    told = []
    for pair in (files, map(str, folders)):
        assert cli.main(["compare", *pair, "--json"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    (folders[0] / "run.json").unlink()
    assert cli.main(["compare", *map(str, folders)]) == 1
    assert f'There is no file "{folders[0] / "run.json"}"' in capsys.readouterr().err


def test_exit_codes(files, tmp_path, capsys):
    a, b = files
    assert cli.main(["compare", a, b, "--fail-if-worse"]) == 0
    assert cli.main(["compare", b, a]) == 0
    assert cli.main(["compare", b, a, "--fail-if-worse"]) == 1
    assert cli.main(["compare", a, str(tmp_path / "c.json")]) == 1
    assert "There is no file" in capsys.readouterr().err
    assert cli.main(["compare", a]) == 2
