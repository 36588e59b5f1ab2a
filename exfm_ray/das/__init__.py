"""Data augmentation service (ExFM 3.2): which snapshot supervises, the FM on Ray Serve, and the side-cars it logs."""
