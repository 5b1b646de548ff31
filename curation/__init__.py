"""What happens to a video and to a clip row: list, decode, find shots, measure, choose, caption, cut, write shards."""
