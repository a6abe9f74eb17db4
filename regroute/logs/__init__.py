"""The daemon's logs: what an access log's line is, and how lines come to where they are kept."""
