"""Plain tables, as TOML gives them, to frozen dataclasses and back; every fault is found before any is reported.

What a dataclass holds may be: true or false, numbers, strings, paths, one of a few words (Literal), another dataclass,
tuples and tables of these, and any of them "or none", which a file writes as the string "none".
"""

from __future__ import annotations

import json
import re
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from xpose.errors import ConfigError, did_you_mean, quote

T = TypeVar("T")
Table = Mapping[str, Any]
NONE = "none"
_BEGINNING = re.compile(r"(\w+)[\w.]* (?:is|are|has) ")  # of a fault that speaks of one setting


class _FaultError(Exception):
    """A value that does not fit; the message says why."""


def read(kind: type[T], table: Table, where: str = "") -> tuple[T | None, list[str]]:
    """The dataclass `kind` out of a table, and everything that is wrong with the table.

    Args:
        kind: a dataclass.
        table: its fields by name; those that are missing keep their defaults.
        where: dotted name of the table, for messages.
    """
    faults: list[str] = []
    value = _dataclass(kind, table, where, faults)
    return (None if faults else value), faults


def _dataclass(kind: Any, table: Any, where: str, faults: list[str]) -> Any:
    if not isinstance(table, Mapping):
        faults.append(f"{where} is {_shown(table)}, not a table of settings")
        return None
    hints, values = _hints(kind), {}
    for name, found in table.items():
        path = f"{where}.{name}" if where else str(name)
        if name not in hints:
            faults.append(f"{path} is unknown.{_nearest(kind, str(name), where)}")
            continue
        before = len(faults)
        value = _value(hints[name], found, path, faults)
        if len(faults) == before:
            values[name] = value
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in missing if name not in values]
    for name in missing:
        if name not in table:
            faults.append(f"{where + '.' if where else ''}{name} is missing")
    if missing:
        return None
    try:
        return kind(**values)
    except ConfigError as error:  # what its own checks say, beside the faults of type
        faults += [_placed(kind, line, where) for line in _lines(error)]
        return None


def unknown_names(kind: Any, table: Table, where: str) -> list[str]:
    """What is wrong with the names in a table alone, whatever the values are."""
    hints, faults = _hints(kind), []
    for name, found in table.items():
        path = f"{where}.{name}"
        if name not in hints:
            faults.append(f"{path} is unknown.{_nearest(kind, str(name), where)}")
            continue
        nested = _dataclass_in(hints[name])
        if nested is not None and isinstance(found, Mapping):
            faults += unknown_names(nested, found, path)
    return faults


def _placed(kind: Any, fault: str, where: str) -> str:
    """A fault that a dataclass found itself: with the whole name of the setting where it begins with a setting."""
    if not where or fault.startswith(f"{where}."):
        return fault
    begins = _BEGINNING.match(fault)
    return f"{where}.{fault}" if begins and begins[1] in _hints(kind) else f"{where}: {fault}"


def _lines(error: ConfigError) -> list[str]:
    first, *rest = str(error).splitlines()
    return [line.strip() for line in rest] or [first]


def _value(hint: Any, value: Any, path: str, faults: list[str]) -> Any:
    """A value of the wanted type; where it is none, a fault is noted and the result means nothing."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value == NONE and type(None) in inner:
            return None
        hint = next(kind for kind in inner if kind is not type(None))
        return _value(hint, value, path, faults)
    if is_dataclass(hint):
        return _dataclass(hint, value, path, faults)
    if origin is tuple:
        return _tuple(inner, value, path, faults)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            faults.append(f"{path} is {_shown(value)}, not a table")
            return None
        return {str(name): _value(inner[1], entry, f"{path}.{name}", faults) for name, entry in value.items()}
    try:
        return _plain(hint, value)
    except _FaultError as fault:
        faults.append(f"{path} is {_shown(value)}, {fault}")
        return None


def _tuple(inner: tuple[Any, ...], value: Any, path: str, faults: list[str]) -> Any:
    if not isinstance(value, list | tuple):
        faults.append(f"{path} is {_shown(value)}, not a list")
        return None
    if inner[-1] is not Ellipsis and len(value) != len(inner):
        faults.append(f"{path} has {len(value)} entries, not {len(inner)}")
        return None
    hints = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
    return tuple(
        _value(hint, entry, f"{path}[{number}]", faults)
        for number, (hint, entry) in enumerate(zip(hints, value, strict=True))
    )


def _plain(hint: Any, value: Any) -> Any:
    if hint is Any:
        return value
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            words = [str(word) for word in get_args(hint)]
            raise _FaultError(f"not one of {', '.join(words)}.{did_you_mean(str(value), words)}")
        return value
    if hint is bool:
        if not isinstance(value, bool):
            raise _FaultError("not true or false")
        return value
    if hint in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if hint is int and not (number and float(value).is_integer()):
            raise _FaultError("not a whole number")
        if not number:
            raise _FaultError("not a number")
        return hint(value)
    if not isinstance(value, str):
        raise _FaultError("not a string")
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _dataclass_in(hint: Any) -> Any:
    """The dataclass that a hint names, alone or "or none"; None where it names no dataclass."""
    return next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)


def names_in(kind: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting below a dataclass by its dotted name, with its type; tables too."""
    for name, hint in _hints(kind).items():
        path = f"{where}.{name}" if where else name
        yield path, hint
        nested = _dataclass_in(hint)
        if nested is not None:
            yield from names_in(nested, path)


def _nearest(kind: Any, name: str, where: str) -> str:
    """A proposal: a setting of this table, or else one of the same or a similar name further down."""
    here = did_you_mean(name, _hints(kind))
    if here:
        for setting in _hints(kind) if where else ():
            here = here.replace(quote(setting), quote(f"{where}.{setting}"))
        return here
    below: dict[str, str] = {}
    for path, _ in names_in(kind, where):
        below.setdefault(path.rpartition(".")[2], path)
    near = did_you_mean(name, below, limit=1)
    found = next((leaf for leaf in below if quote(leaf) in near), None)
    return f" Did you mean {quote(below[found])}?" if found else f" There are: {', '.join(_hints(kind))}."


def _shown(value: Any) -> str:
    return quote(value) if isinstance(value, str) else "a table" if isinstance(value, Mapping) else repr(value)[:80]


def assigned(kind: Any, text: str) -> dict[str, Any]:
    """`a.b=value` as nested tables. The value is TOML; a text may stand without quotes.

    Raises:
        ConfigError: it is not of that form.
    """
    name, mark, value = text.partition("=")
    path = [part.strip() for part in name.split(".")]
    if not mark or not all(path):
        raise ConfigError(f"--set {quote(text)} is not of the form NAME=VALUE. Write for example run.steps=1000.")
    found = _toml_value(value.strip(), text)
    for part in reversed(path):
        found = {part: found}
    return dict(found)


def _toml_value(value: str, text: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        if value[:1] in ("[", "{", '"', "'") or not value or "\n" in value:
            raise ConfigError(
                f"The value of --set {quote(text)} is not TOML ({error}). Write numbers, true, [1, 2] or "
                '["a", "b"], and in a shell put the whole of it into single quotes.'
            ) from None
        return value


def merged(base: Table, over: Table) -> dict[str, Any]:
    """The tables of both; where both have a value, that of `over`."""
    result = dict(base)
    for name, value in over.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def to_table(value: Any) -> dict[str, Any]:
    """The inverse of `read`: a dataclass as a table that TOML can hold."""
    return {f.name: _to_plain(getattr(value, f.name)) for f in fields(value)}


def _to_plain(value: Any) -> Any:
    if value is None:
        return NONE
    if is_dataclass(value):
        return to_table(value)
    if isinstance(value, Mapping):
        return {str(name): _to_plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(entry) for entry in value]
    return value


def to_toml(table: Table, where: Sequence[str] = ()) -> str:
    """A table as TOML text."""
    plain = {name: value for name, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{_key(name)} = {_text(value)}" for name, value in plain.items()]
    parts = ["\n".join(lines)] if lines else []
    for name, value in table.items():
        if isinstance(value, Mapping):
            inner = (*where, name)
            body = to_toml(value, inner)
            has_own = not value or any(not isinstance(entry, Mapping) for entry in value.values())
            head = f"[{'.'.join(map(_key, inner))}]" if has_own else ""
            parts.append(f"{head}\n{body}".strip("\n"))
    return "\n\n".join(part for part in parts if part) + ("\n" if not where else "")


def _key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name) else _text(name)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_text(entry) for entry in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def differences(table: Table, other: Table, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The settings in which two tables differ: dotted name, value here, value there."""
    for name in dict.fromkeys((*table, *other)):
        a, b, path = table.get(name, NONE), other.get(name, NONE), f"{where}.{name}" if where else name
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, path)
        elif a != b:
            yield path, a, b
