"""What bench/compare consists of, one subject a file."""
