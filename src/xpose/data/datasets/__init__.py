"""Originals in, records out: converters of published sets, importers of what users have, folders of COCO sets."""
