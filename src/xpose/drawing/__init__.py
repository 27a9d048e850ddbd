"""Pictures for people: pure functions on plain values; nothing here knows of models, files or vocabulary."""
