"""A reader's own table, CSV or Parquet, with a schema of its columns → days."""
