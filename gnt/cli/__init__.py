"""The gnt-* commands. No Twisted here: a list must answer before a person notices."""
