"""The configuration: YAML text to frozen values, or every fault in it with its place."""
