"""What must not be lost: objects, jobs and history in one SQLite file."""
