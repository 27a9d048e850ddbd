"""Pages for people who look at data: what each set holds, with pictures, points by name and charts."""
