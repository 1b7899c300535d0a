"""Codebooks: fitting, validation, storage, glossary."""
