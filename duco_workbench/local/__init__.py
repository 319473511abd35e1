"""One laptop, one command: every service of the stack as a real one, supervised, on loopback."""
