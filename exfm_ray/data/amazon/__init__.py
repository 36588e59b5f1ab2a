"""Amazon Electronics: official JSON files → days."""
