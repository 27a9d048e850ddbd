"""HTML pages for inspecting data: the contents of each set, with pictures, named points and charts."""
