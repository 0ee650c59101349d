"""What can be asked: one struct for each opcode."""
