"""The linear settings in which the paper proves its theorems (ExFM A.2, A.3), computed in float64. Pure numpy."""
