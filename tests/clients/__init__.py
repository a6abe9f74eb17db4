"""Real container clients pull through regroute, on a network made for the tests."""
