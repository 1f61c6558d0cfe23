"""What is shown of results: sentences, tables, figures, pages."""
