"""What the master does for each opcode: observe, then plan."""
