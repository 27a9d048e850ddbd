"""Convert plain TOML tables to frozen dataclasses and back; all faults are collected before they are reported.

A field can be a bool, a number, a string, a Literal of strings, another dataclass, or a tuple or table of these. Any
field can also be optional; None is written as the string "none" in a file.
"""

from __future__ import annotations

import json
import re
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, reduce
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from xpose.errors import ConfigError, did_you_mean, quote

T = TypeVar("T")
Table = Mapping[str, Any]
NONE = "none"
_SETTING = re.compile(r"(\w+)[\w.]* (?:is|are|has) ")  # start of a fault that names a setting


def read(kind: type[T], table: Table, where: str = "") -> tuple[T | None, list[str]]:
    """Read the dataclass `kind` from a table; also return all faults of the table.

    Missing fields keep their defaults. `where` is the dotted name of the table, for messages.
    """
    faults: list[str] = []
    value = _dataclass(kind, table, where, faults)
    return (None if faults else value), faults


def _dataclass(kind: Any, table: Any, where: str, faults: list[str]) -> Any:
    if not isinstance(table, Mapping):
        faults.append(f"{where} is {_shown(table)}, not a table of settings")
        return None
    hints, values = _hints(kind), {}
    for name, entry in table.items():
        path, before = _join(where, name), len(faults)
        if name not in hints:
            faults.append(f"{path} is unknown.{_nearest(kind, str(name), where)}")
            continue
        value = _value(hints[name], entry, path, faults)
        if len(faults) == before:
            values[name] = value
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    faults += [f"{_join(where, name)} is missing" for name in needed if name not in table]
    if not values.keys() >= set(needed):
        return None
    try:
        return kind(**values)
    except ConfigError as error:  # the dataclass's own checks, one per line after the first
        first, *rest = str(error).splitlines()
        faults += [_placed(kind, line.strip(), where) for line in rest or [first]]
        return None


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _placed(kind: Any, fault: str, where: str) -> str:
    """A fault of a dataclass's own check, with the full name of the setting."""
    if not where or fault.startswith(f"{where}."):
        return fault
    setting = _SETTING.match(fault)
    return f"{where}.{fault}" if setting and setting[1] in _hints(kind) else f"{where}: {fault}"


def _value(hint: Any, value: Any, path: str, faults: list[str]) -> Any:
    """Convert a value to the type; on a mismatch, a fault is added and the result is invalid."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value == NONE and type(None) in inner:
            return None
        return _value(next(kind for kind in inner if kind is not type(None)), value, path, faults)
    if is_dataclass(hint):
        return _dataclass(hint, value, path, faults)
    if fault := _misfit(hint, value):
        faults.append(f"{path} is {_shown(value)}, {fault}")
    elif origin is tuple:
        hints = inner if inner[-1] is not Ellipsis else [inner[0]] * len(value)
        if len(hints) == len(value):
            pairs = enumerate(zip(hints, value, strict=True))
            return tuple(_value(kind, entry, f"{path}[{number}]", faults) for number, (kind, entry) in pairs)
        faults.append(f"{path} has {len(value)} entries, not {len(hints)}")
    elif origin is Mapping:
        return {str(name): _value(inner[1], entry, f"{path}.{name}", faults) for name, entry in value.items()}
    else:
        return hint(value) if hint in (int, float) else value
    return None


def _misfit(hint: Any, value: Any) -> str:
    """Why a value is not of a type, ignoring its entries; empty if it is."""
    origin = get_origin(hint)
    if origin is Literal:
        words = [str(word) for word in get_args(hint)]
        fits, rule = value in get_args(hint), f"one of {', '.join(words)}.{did_you_mean(str(value), words)}"
    elif origin is tuple:
        fits, rule = isinstance(value, list | tuple), "a list"
    elif origin is Mapping:
        fits, rule = isinstance(value, Mapping), "a table"
    elif hint in (int, float):
        rule = "a whole number" if hint is int else "a number"
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        fits = fits and (hint is float or float(value).is_integer())
    else:
        fits, rule = hint is Any or isinstance(value, hint), "true or false" if hint is bool else "a string"
    return "" if fits else f"not {rule}"


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def names_in(kind: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a dataclass, including tables: its dotted name and type."""
    for name, hint in _hints(kind).items():
        path = _join(where, name)
        yield path, hint
        for nested in (hint, *get_args(hint)):
            if is_dataclass(nested):
                yield from names_in(nested, path)


def _nearest(kind: Any, name: str, where: str) -> str:
    """A suggestion: a setting of this table, or one with the same or a similar name in a nested one."""
    paths = {setting: _join(where, setting) for setting in _hints(kind)}
    near = did_you_mean(name, paths)
    if not near:
        for path, _ in names_in(kind, where):
            paths.setdefault(path.rpartition(".")[2], path)
        near = did_you_mean(name, paths, limit=1)
    if not near:
        return f" There are: {', '.join(_hints(kind))}."
    return re.sub(r'"([^"]*)"', lambda match: quote(paths.get(match[1], match[1])), near)


def _shown(value: Any) -> str:
    return quote(value) if isinstance(value, str) else "a table" if isinstance(value, Mapping) else repr(value)[:80]


def assigned(text: str) -> dict[str, Any]:
    """`a.b=value` as nested tables. The value is TOML; a string needs no quotes."""
    name, mark, value = text.partition("=")
    path = [part.strip() for part in name.split(".")]
    if not mark or not all(path):
        raise ConfigError(f"--set {quote(text)} is not of the form NAME=VALUE. Write for example run.steps=1000.")
    entry: Any = value.strip()
    try:
        entry = tomllib.loads(f"value = {entry}")["value"]
    except tomllib.TOMLDecodeError as error:
        if entry[:1] in ("[", "{", '"', "'") or not entry or "\n" in entry:
            raise ConfigError(
                f"The value of --set {quote(text)} is not TOML ({error}). Write numbers, true, [1, 2] or "
                '["a", "b"], and in a shell put the whole of it into single quotes.'
            ) from None
    return reduce(lambda table, part: {part: table}, reversed(path), entry)


def merged(base: Table, over: Table) -> dict[str, Any]:
    """Merge two tables; values of `over` take precedence."""
    result = dict(base)
    for name, value in over.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def to_table(value: Any) -> Any:
    """The inverse of `read`: convert a dataclass, with its nested values, to a table for TOML."""
    if is_dataclass(value):
        return {f.name: to_table(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_table(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_table(entry) for entry in value]
    return NONE if value is None else value


def to_toml(table: Table, where: Sequence[str] = ()) -> str:
    """A table as TOML text."""
    lines = [f"{_key(name)} = {_text(value)}" for name, value in table.items() if not isinstance(value, Mapping)]
    parts = ["\n".join(lines)] if lines else []
    for name, value in table.items():
        if isinstance(value, Mapping):
            inner = (*where, name)
            with_values = not value or any(not isinstance(entry, Mapping) for entry in value.values())
            head = f"[{'.'.join(map(_key, inner))}]" if with_values else ""
            parts.append(f"{head}\n{to_toml(value, inner)}".strip("\n"))
    return "\n\n".join(part for part in parts if part) + ("\n" if not where else "")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def differences(table: Table, other: Table, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The settings in which two tables differ: dotted name, value, other value."""
    for name in dict.fromkeys((*table, *other)):
        a, b, path = table.get(name, NONE), other.get(name, NONE), _join(where, name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, path)
        elif a != b:
            yield path, a, b
