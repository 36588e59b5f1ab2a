"""The synthetic ads stream: a drifting world, its users, ads and requests → days."""
