"""A question: its runs, its declared contrasts, its folder."""
