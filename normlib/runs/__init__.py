"""One run: trained, kept as a record, diagnosed."""
