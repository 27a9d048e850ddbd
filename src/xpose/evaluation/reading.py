"""JSON files of other programs: read whole, or refused with the fault and its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xpose.errors import DataError, quote

MOST_BYTES = 4 << 30


def read_json(path: str | Path, kind: str) -> Any:
    """The content of a JSON file; `kind` says in errors what was expected."""
    path = Path(path).expanduser()
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{quote(path)} is larger than {MOST_BYTES >> 30} GiB. {kind} is smaller. Check the path.")
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"There is no file {quote(path)}. {kind} was expected. Check the path.") from None
    except OSError as error:
        raise DataError(f"{quote(path)} cannot be read ({error.strerror}). {kind} was expected. Check it.") from None
    except UnicodeDecodeError as error:
        fault = f"byte {error.start} is not UTF-8"
    except RecursionError:
        fault = "it is nested too deeply"
    except (ValueError, MemoryError) as error:
        fault = str(error) or "it does not fit into memory"
    raise DataError(f"{quote(path)} is not a JSON file: {fault}. {kind} was expected. Write or fetch the file again.")
