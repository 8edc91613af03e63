"""How fast the program is: next to the release's order of computation, and to what the machine can do at all."""
