"""Frames in, frames out: conditions, contrasts, verdicts, rankings; no study and no model is known here."""
