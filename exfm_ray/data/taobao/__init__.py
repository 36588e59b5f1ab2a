"""TaobaoAd: the four raw files of Tianchi 56, or TaobaoAd_x1 → days."""
