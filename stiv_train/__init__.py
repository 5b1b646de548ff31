"""Training STIV on curated shards: data plan, loader, flow matching, guidance, the loop, sampling, evaluation."""
