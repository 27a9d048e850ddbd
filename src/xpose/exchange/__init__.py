"""ReadLabels and results from one program's format to another's: `convert_labels` and `read_labels`.

The formats are in `xpose.results.formats.table`. Files of labelling programs are read by the importers of `xpose.data`.
"""

from xpose.exchange.converting import Converted, convert_labels
from xpose.exchange.reading import ReadLabels, read_labels

__all__ = ["Converted", "ReadLabels", "convert_labels", "read_labels"]
