"""What is counted, and how a scrape gets it."""
