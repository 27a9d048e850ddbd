"""Opening graph files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SIGNAL_AFTER_CLOSING = """
import gc, os, signal, sys
from pathlib import Path
from xpose.model.graph_files import open_openvino
first, second = open_openvino(Path(sys.argv[1])), open_openvino(Path(sys.argv[1]))
del first
gc.collect()
del second
gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals have no stacks there")
def test_a_process_that_has_closed_openvino_files_can_be_interrupted(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    opset = pytest.importorskip("openvino.opset13")
    values = opset.parameter([2], np.float32)
    openvino.save_model(openvino.Model([opset.relu(values)], [values]), tmp_path / "graph.xml")
    command = [sys.executable, "-c", SIGNAL_AFTER_CLOSING, str(tmp_path / "graph.xml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr[-2000:]
