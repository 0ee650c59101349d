"""How the parts speak: LUXI, node calls, Perspective Broker over mutual TLS."""
