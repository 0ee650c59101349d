"""REST for programs; knows the master only through LUXI."""
