"""A study's runs, as papermill executions on any executor."""
