"""What a run leaves for people: curves, a page with numbers and pictures, a look at its batches."""
