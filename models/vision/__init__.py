"""Pictures and texts as vectors that can be compared: OpenCLIP's towers, heads on top of them, and tags from prompts."""
