"""What a run says and leaves behind while it trains."""
