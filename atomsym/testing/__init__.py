"""The shipped conformance suite: physics checks for any calculator, and the one tolerance table."""
