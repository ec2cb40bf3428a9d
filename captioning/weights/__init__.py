"""Pretrained files: finds or downloads them, checks them, and opens them without running code in them."""
