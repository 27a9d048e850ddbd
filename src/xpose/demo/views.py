"""Everything that the page shows, as HTML; whatever a visitor or a file named is escaped here, and only here.

Pictures are shown in the page's width with an SVG over them whose units are the picture's pixels, so that places stay
exact at every size and zoom.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Literal

from xpose.drawing.figures import instance_colours, nearest_gap, picture_radius
from xpose.drawing.palette import MIDDLE, SIDES, Colour
from xpose.vocabulary import side_of

if TYPE_CHECKING:
    from PIL import Image

    from xpose.demo.answers import Answer
    from xpose.demo.batch import Progress
    from xpose.demo.sketch import Board, Shot
    from xpose.demo.uploads import Upload
    from xpose.results import Pose, Poses

Kind = Literal["info", "good", "problem"]
_STATES = {0: "not found", 1: "covered", 2: "seen"}
_MOST_ROWS = 2000  # of the table of points; a page with more would be slow


def note(text: str, kind: Kind = "info", more: Sequence[str] = ()) -> str:
    """A message; screen readers read it out. `more` are lines of a list under it."""
    role = "alert" if kind == "problem" else "status"
    items = "".join(f"<li>{escape(line)}</li>" for line in more)
    listed = f"<ul>{items}</ul>" if items else ""
    return f'<div class="xp-note xp-{kind}" role="{role}"><p>{escape(text)}</p>{listed}</div>'


def working(key: str, progress: Progress | None, total: int) -> str:
    """A bar for a batch that runs; the page asks again where `data-again` says."""
    done, said = (0, f"0 of {total}") if progress is None else (progress.done, _counted(progress))
    return (
        f'<div class="xp-note xp-info" role="status" data-again="xpose/{escape(key)}/batch">'
        f'<progress class="xp-bar" value="{done}" max="{total}"></progress><p>{escape(said)}</p></div>'
    )


def batch_done(progress: Progress) -> str:
    """What a finished batch found, and what failed."""
    faults = [f"{name}: {message}" for name, message in progress.faults]
    return note(f"Done. {_counted(progress)}.", "problem" if faults else "good", faults)


def _counted(progress: Progress) -> str:
    failed = f"; {len(progress.faults)} failed" if progress.faults else ""
    return f"{progress.done} of {progress.total}: {progress.objects} objects{failed}"


def drop_zone(key: str, slot: str, text: str, most: int, several: bool = False) -> str:
    """A place for files; `slot` is where on the page they go, `most` the bytes of one."""
    many = " multiple" if several else ""
    return (
        f'<label class="xp-drop" data-url="xpose/{escape(key)}/upload/{escape(slot)}" data-most="{most}">'
        f'<span class="xp-drop-text">{escape(text)}</span>'
        f'<input type="file" aria-label="{escape(text)}"{many}>'
        '<progress class="xp-bar" hidden></progress></label>'
    )


def picture_url(key: str, upload: Upload) -> str:
    """Where the browser gets a picture of the page."""
    return f"xpose/{key}/picture/{upload.id}"


def downloads(key: str, tab: str, links: Iterable[tuple[str, str]]) -> str:
    """Links to files that are made when they are asked for; pairs of file name and what to call it."""
    shown = "".join(
        f'<a class="xp-link" href="xpose/{escape(key)}/file/{escape(tab)}/{escape(name)}" download>{escape(text)}</a>'
        for name, text in links
    )
    return f'<div class="xp-links">{shown}</div>' if shown else ""


def plain_picture(key: str, upload: Upload) -> str:
    """A picture without anything on it."""
    return _stage(key, upload, "", f"{upload.name}, {upload.width} x {upload.height} pixels")


def overlay(key: str, upload: Upload, poses: Poses) -> str:
    """The picture with boxes and skeletons; names and scores appear where one points."""
    colours = instance_colours(len(poses))
    largest = picture_radius(upload.width, upload.height)
    drawn = [_pose(pose, colour, largest) for pose, colour in zip(poses, colours, strict=True)]
    counts = ", ".join(f"{number} {name}" for name, number in poses.count().items()) or "nothing found"
    return _stage(key, upload, "".join(reversed(drawn)), f"{upload.name}: {counts}")


def _stage(key: str, upload: Upload, inside: str, caption: str, mode: str = "xp-over") -> str:
    """A picture under an SVG with the picture's own pixels as units."""
    return (
        f'<figure class="xp-view"><div class="xp-scroll"><div class="xp-stage" style="--ratio: {upload.width} / '
        f'{upload.height}"><img src="{escape(picture_url(key, upload))}" alt="{escape(upload.name)}" '
        f'width="{upload.width}" height="{upload.height}" draggable="false">'
        f'<svg class="{mode}" viewBox="0 0 {upload.width} {upload.height}" preserveAspectRatio="none" '
        f'data-width="{upload.width}" data-height="{upload.height}">{inside}</svg></div></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _pose(pose: Pose, colour: Colour, largest: float) -> str:
    x1, y1, x2, y2 = (float(value) for value in pose.box)
    title = f"{pose.category} {pose.score:.2f}"
    seen = pose.xy[pose.visibility > 0]
    gap = nearest_gap(seen)
    size = math.sqrt(max(x2 - x1, 0.0) * max(y2 - y1, 0.0))
    radius = max(min(largest, 0.75 + 0.02 * size, math.inf if gap is None else 0.36 * gap), min(0.9, largest))
    parts = [
        f'<rect class="xp-box" data-tip="{escape(title)}" x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" '
        f'height="{y2 - y1:.1f}" stroke="{_rgb(colour)}" stroke-width="{0.5 * largest:.2f}"></rect>'
    ]
    points = pose.points
    sides = dict(zip(pose.names, pose.sides, strict=True))
    for start, end in pose.edges:
        a, b = points[start], points[end]
        if a.v and b.v:
            both = {sides[start], sides[end]} - {"middle"}
            stroke = SIDES[both.pop()] if len(both) == 1 else MIDDLE
            parts.append(
                f'<line x1="{a.x:.1f}" y1="{a.y:.1f}" x2="{b.x:.1f}" y2="{b.y:.1f}" stroke="{_rgb(stroke)}" '
                f'stroke-width="{radius:.2f}" stroke-linecap="round"></line>'
            )
    for name, point in points.items():
        if point.v:
            tip = f"{name} {point.score:.2f} ({title})"
            parts.append(
                f'<circle class="xp-dot" data-tip="{escape(tip)}" cx="{point.x:.1f}" cy="{point.y:.1f}" '
                f'r="{radius:.2f}" fill="{_rgb(SIDES[sides[name]])}" stroke-width="{0.3 * radius:.2f}"></circle>'
            )
    return f'<g class="xp-pose">{"".join(parts)}</g>'


def _rgb(colour: Colour) -> str:
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"


def table(names: Sequence[str], results: Sequence[Poses]) -> str:
    """All instances and their points, picture by picture."""
    rows: list[str] = []
    for name, poses in zip(names, results, strict=True):
        for number, pose in enumerate(poses, start=1):
            if len(rows) >= _MOST_ROWS:
                break
            where = f"{name}, " if len(names) > 1 else ""
            seen = int((pose.visibility > 0).sum())
            rows.append(
                f'<tr class="xp-instance"><th scope="row">{escape(where)}{escape(pose.category)} {number}</th>'
                f"<td>{pose.score:.3f}</td><td></td><td></td><td>{seen} of {len(pose.names)} points</td></tr>"
            )
            for point_name, point in pose.points.items():
                place = (f"{point.x:.1f}", f"{point.y:.1f}") if point.v else ("", "")
                score = "" if math.isnan(point.score) else f"{point.score:.3f}"
                rows.append(
                    f'<tr><td class="xp-name">{escape(point_name)}</td><td>{score}</td><td>{place[0]}</td>'
                    f"<td>{place[1]}</td><td>{_STATES[point.v]}</td></tr>"
                )
    if not rows:
        return ""
    left_out = "<p>The table is cut here; the downloads have everything.</p>" if len(rows) >= _MOST_ROWS else ""
    head = "".join(f'<th scope="col">{title}</th>' for title in ("what", "score", "x", "y", ""))
    return (
        f'<div class="xp-table"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f"{left_out}</div>"
    )


def chooser(names: Sequence[str], at: int) -> str:
    """Buttons to go from one picture of a result to another; nothing for a single one."""
    if len(names) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" class="xp-chip{" xp-now" if number == at else ""}" data-kind="show" '
        f'data-at="{number}">{escape(name)}</button>'
        for number, name in enumerate(names)
    )
    return f'<div class="xp-chips" role="group" aria-label="Pictures">{buttons}</div>'


def summary(answer: Answer, results: Sequence[Poses]) -> str:
    """What is left of an answer, in a line."""
    totals = dict.fromkeys(answer.usual.limits, 0)
    for poses in results:
        for name, number in poses.count().items():
            totals[name] = totals.get(name, 0) + number
    counted = ", ".join(f"{number} {name}" for name, number in totals.items())
    candidates = sum(len(poses) for poses in answer.found)
    text = f"Found: {counted} (of {candidates} candidates; the network took {answer.seconds:.2f} s)."
    if not any(totals.values()):
        text += " Nothing passes the least score: move that slider to the left, or show an example."
    return note(text, "good" if any(totals.values()) else "info")


def pad(key: str, board: Board, upload: Upload | None, can_undo: bool, said: str = "") -> str:
    """The place where one clicks: picture with marks, tools, and the names with what has been done with each.

    `said` is HTML of this module, a message over it.
    """
    tools = said + _tools(board, can_undo)
    start = f'<div class="xp-pad" data-tool="{board.tool}" data-act="xpose/{escape(key)}/act">'
    if upload is None:
        hint = '<p class="xp-hint">Choose an example picture, then click on the points of its object.</p>'
        return f"{start}{tools}{hint}{_names(board, None)}</div>"
    shot = board.shot
    mode = "xp-click xp-boxing" if board.tool == "box" else "xp-click"
    stage = _stage(key, upload, _marks(board, shot), f"Example {board.at + 1}: {_next_step(board)}", mode)
    return f"{start}{_shots(board)}{tools}{stage}{_names(board, shot)}</div>"


def _next_step(board: Board) -> str:
    if board.tool == "box":
        return "drag a box around the object"
    if board.current is not None and board.current not in board.shot.marks:
        return f"click on {board.current}"
    if board.next_name(None) is None and board.names:
        return "all named points are placed; a further click makes a new one"
    return "click on a point of the object"


def _shots(board: Board) -> str:
    buttons = "".join(
        f'<button type="button" class="xp-chip{" xp-now" if number == board.at else ""}" data-kind="go" '
        f'data-at="{number}">Example {number + 1}</button>'
        for number in range(len(board.shots))
    )
    return f'<div class="xp-chips" role="group" aria-label="Examples">{buttons}</div>'


def _tools(board: Board, can_undo: bool) -> str:
    some = bool(board.shots)
    shot = board.shot if some else None
    chosen = some and board.current is not None
    mark = shot.marks.get(board.current) if shot is not None and board.current is not None else None
    hide = "Visible again" if mark is not None and mark.hidden else "Mark as hidden"
    box = ("unbox", "Remove box") if shot is not None and shot.box else ("tool", "Draw box")
    if board.tool == "box":
        box = ("tool", "Cancel box")
    wanted = "point" if board.tool == "box" else "box"
    buttons = [
        _button("undo", "Undo", can_undo),
        _button(box[0], box[1], some, f' data-tool="{wanted}"' if box[0] == "tool" else ""),
        _button("hide", hide, chosen),
        _button("remove", "Remove point", mark is not None),
        _button("clear", "Clear", some),
        _button("drop", "Remove example", some),
        '<span class="xp-zoom"><button type="button" class="xp-tool" data-zoom="-1" aria-label="Smaller">−</button>'
        '<button type="button" class="xp-tool" data-zoom="1" aria-label="Larger">+</button></span>',
    ]
    return f'<div class="xp-tools" role="toolbar" aria-label="Tools">{"".join(buttons)}</div>'


def _button(kind: str, text: str, enabled: bool, more: str = "") -> str:
    off = "" if enabled else " disabled"
    return f'<button type="button" class="xp-tool" data-kind="{kind}"{more}{off}>{escape(text)}</button>'


def _marks(board: Board, shot: Shot) -> str:
    parts = []
    if shot.box is not None:
        x1, y1, x2, y2 = shot.box
        parts.append(f'<rect class="xp-mybox" x="{x1}" y="{y1}" width="{x2 - x1}" height="{y2 - y1}"></rect>')
    radius = 1.4 * picture_radius(shot.width, shot.height)
    for name, mark in shot.marks.items():
        if mark.x is None or mark.y is None:
            continue
        state = f"{' xp-hidden' if mark.hidden else ''}{' xp-now' if name == board.current else ''}"
        parts.append(
            f'<circle class="xp-mark{state}" data-name="{escape(name)}" data-tip="{escape(name)}" cx="{mark.x}" '
            f'cy="{mark.y}" r="{radius:.2f}" fill="{_rgb(SIDES[side_of(name)])}"></circle>'
        )
    parts.append('<rect class="xp-rubber" x="0" y="0" width="0" height="0"></rect>')
    return "".join(parts)


def _names(board: Board, shot: Shot | None) -> str:
    chips = []
    for name in board.names:
        mark = None if shot is None else shot.marks.get(name)
        if mark is None:
            state, sign = "", ""
        elif mark.hidden:
            state, sign = " xp-hidden", "hidden: "
        else:
            state, sign = " xp-placed", "✓ "
        now = " xp-now" if name == board.current else ""
        chips.append(
            f'<button type="button" class="xp-chip{state}{now}" data-kind="choose" data-name="{escape(name)}"'
            f"{'' if shot is not None else ' disabled'}>{sign}{escape(name)}</button>"
        )
    return f'<div class="xp-chips xp-names" role="group" aria-label="Points">{"".join(chips)}</div>' if chips else ""


def bank_contents(names: Iterable[tuple[str, Sequence[str]]], file: str) -> str:
    """What a loaded prompt bank holds; pairs of a class and its points."""
    listed = [f"{label}: {', '.join(points) or 'only boxed'}" for label, points in names]
    return note(f"Prompt bank {file} is loaded. It is used instead of the examples.", "good", listed)


def skeleton(picture: Image.Image, name: str, why: str) -> str:
    """The drawing of a skeleton, and why it was chosen."""
    stream = io.BytesIO()
    picture.quantize(64).save(stream, "PNG", optimize=False)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<figure class="xp-view xp-skeleton"><img src="data:image/png;base64,{data}" alt="Skeleton {escape(name)}">'
        f"<figcaption>{escape(name)}: {escape(why)}</figcaption></figure>"
    )
