"""Names for sets of addresses: how they are written, read from files and looked up."""
