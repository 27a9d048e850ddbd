"""XML annotations, read without document types and entities: neither outside files nor explosions."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError

from xpose.data.datasets.sources import Source
from xpose.errors import DataError, missing_extra, quote


def read_xml(source: Source, name: str) -> Element:
    """The root element of an XML file.

    Raises:
        DataError: it is missing, is not XML, or declares a document type or entities.
    """
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import fromstring
    except ImportError:
        raise missing_extra("Reading XML annotations", "defusedxml", "data") from None
    try:
        root: Element = fromstring(source.text(name), forbid_dtd=True)
    except DefusedXmlException:
        raise DataError(f"{quote(name)} declares a document type or entities, which are refused") from None
    except (ParseError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{quote(name)} is not XML: {error}") from None
    return root
