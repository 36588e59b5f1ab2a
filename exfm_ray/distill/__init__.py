"""Distillation heads, scaling, the student adapter, losses and the training step (ExFM 3.3, 3.4). Pure torch."""
