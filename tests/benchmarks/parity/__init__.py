"""Codes of natd beside those of the authors' programs, over a minute and more of sound at the published shapes."""
