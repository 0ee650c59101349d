"""What the master answers without a job: fields, filters, collectors."""
