"""What a language model is given of a stream: words, within a budget of tokens. Events in, lines out; no I/O."""
