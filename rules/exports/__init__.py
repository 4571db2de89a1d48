"""Rule sets as files for other systems, each proven equal to `predict` before it is handed out."""
