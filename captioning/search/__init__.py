"""How a decoder speaks: greedy, beam search, sampling, consensus."""
