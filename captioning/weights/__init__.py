"""Where pretrained files come from: found or downloaded, checked, and opened without running anything in them."""
