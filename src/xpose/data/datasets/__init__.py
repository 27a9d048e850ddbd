"""Reading datasets as records: converters of published sets, importers of users' files, folders of COCO sets."""
