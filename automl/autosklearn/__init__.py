"""auto-sklearn as an engine: it runs in an interpreter of its own; its pipelines become small files here."""
