"""Where the time of the slowest submissions goes: daemons that note what they do, and who reads the notes."""
