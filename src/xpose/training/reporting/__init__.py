"""Reports of a run for people: curves, a page with numbers and pictures, a view of its batches."""
