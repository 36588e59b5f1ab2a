"""KuaiVideo: the competition's log or KuaiVideo_x1 → days."""
