"""Git LFS transfers: the batch API, actions, uploads in parts and straight to S3."""
