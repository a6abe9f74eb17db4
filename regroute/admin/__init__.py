"""The admin listener: health, metrics and explanations for those who run the daemon."""
