"""Tables to dataclasses: every fault is found, with the nearest right name, and what was read can be written."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpose.errors import ConfigError
from xpose.training.recipes import settings_reader


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    words: tuple[str, ...] = ()
    pair: tuple[int, int] = (1, 2)

    def __post_init__(self) -> None:
        if self.rate > 1:
            raise ConfigError("The inner part does not fit:\n  rate is too high\n  and that is two faults")


@dataclass(frozen=True)
class Outer:
    steps: int
    kind: Literal["a", "b"] = "a"
    side: int | None = 5
    flag: bool = False
    name: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    anything: Mapping[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None


def test_a_table_becomes_a_dataclass() -> None:
    table = {
        "steps": 3,
        "kind": "b",
        "side": "none",
        "flag": True,
        "weights": {"x": 2},
        "anything": {"y": [1]},
        "inner": {"rate": 1, "words": ["p"], "pair": [3, 4]},
        "maybe": {},
    }
    value, faults = settings_reader.read(Outer, table)
    assert faults == []
    assert value == Outer(3, "b", None, True, "", {"x": 2.0}, {"y": [1]}, Inner(1.0, ("p",), (3, 4)), Inner())
    assert isinstance(value.inner.rate, float)


FAULTS = [
    ({}, "steps is missing"),
    ({"steps": "3"}, 'steps is "3", not a whole number'),
    ({"steps": 2.5}, "steps is 2.5, not a whole number"),
    ({"steps": True}, "steps is True, not a whole number"),
    ({"steps": "none"}, 'steps is "none", not a whole number'),
    ({"steps": 3, "kind": "c"}, 'kind is "c", not one of a, b.'),
    ({"steps": 3, "flag": 1}, "flag is 1, not true or false"),
    ({"steps": 3, "name": 1}, "name is 1, not a string"),
    ({"steps": 3, "weights": {"x": "y"}}, 'weights.x is "y", not a number'),
    ({"steps": 3, "weights": 2}, "weights is 2, not a table"),
    ({"steps": 3, "inner": 2}, "inner is 2, not a table of settings"),
    ({"steps": 3, "inner": {"words": "p"}}, 'inner.words is "p", not a list'),
    ({"steps": 3, "inner": {"words": ["p", 1]}}, "inner.words[1] is 1, not a string"),
    ({"steps": 3, "inner": {"pair": [1]}}, "inner.pair has 1 entries, not 2"),
    ({"steps": 3, "setps": 4}, 'setps is unknown. Did you mean "steps"?'),
    ({"steps": 3, "rat": 4}, 'rat is unknown. Did you mean "inner.rate"?'),
    ({"steps": 3, "inner": {"words2": 4}}, 'inner.words2 is unknown. Did you mean "inner.words"?'),
    ({"steps": 3, "zzz": 4}, "zzz is unknown. There are: steps, kind,"),
    ({"steps": 3, "inner": {"rate": 2}}, "inner.rate is too high"),
    ({"steps": 3, "maybe": {"rate": 2}}, "maybe: and that is two faults"),
]


@pytest.mark.parametrize(("table", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_faults_say_value_and_rule(table: dict, message: str) -> None:
    value, faults = settings_reader.read(Outer, table)
    assert value is None
    assert any(message in fault for fault in faults), faults


def test_all_faults_are_found_at_once() -> None:
    faults = settings_reader.read(Outer, {"kind": "c", "setps": 1, "inner": {"rate": 2, "words": 3}, "flag": "yes"})[1]
    assert len(faults) == 7  # steps is missing, and two of them are said by the inner part itself


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=1", {"a": {"b": 1}}),
        ("a=1e-4", {"a": 1e-4}),
        ("a=true", {"a": True}),
        ('a=["x", "y"]', {"a": ["x", "y"]}),
        ("a={b = 1}", {"a": {"b": 1}}),
        ("a=/some/path.safetensors", {"a": "/some/path.safetensors"}),
        ("a=none", {"a": "none"}),
        ('a="3"', {"a": "3"}),
        ("a = 3 ", {"a": 3}),
        ("a=x=y", {"a": "x=y"}),
    ],
)
def test_assignments(text: str, expected: dict) -> None:
    assert settings_reader.assigned(text) == expected


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", "a=[1, 2", "a=", 'a="x'])
def test_malformed_assignments(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        settings_reader.assigned(text)


def test_tables_are_merged_and_lists_replaced() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert settings_reader.merged(base, {"a": {"c": [3]}, "d": {"e": 2}}) == {"a": {"b": 1, "c": [3]}, "d": {"e": 2}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


keys = st.text(min_size=1, max_size=8).filter(lambda key: key.isprintable())
plain = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
tables = st.dictionaries(
    keys,
    st.recursive(
        st.one_of(plain, st.lists(plain, max_size=3)),
        lambda inner: st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


@given(tables)
def test_what_is_written_is_read_again(table: dict) -> None:
    assert tomllib.loads(settings_reader.to_toml(table)) == table


def test_a_dataclass_goes_to_a_file_and_back() -> None:
    value = Outer(3, side=None, weights={"odd name": 0.1}, maybe=Inner(words=("ä", '"')))
    table = tomllib.loads(settings_reader.to_toml(settings_reader.to_table(value)))
    assert settings_reader.read(Outer, table) == (value, [])
