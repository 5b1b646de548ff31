"""Text and web faces of a corpus: report, status, explanation, query."""
