"""KuaiRand-Pure: official CSV, or the same tables as Parquet → days."""
