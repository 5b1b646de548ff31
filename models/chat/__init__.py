"""Models that are asked in words: an endpoint that speaks the OpenAI protocol, or transformers in this process."""
