"""Large files in parts: S3 multipart uploads, and the same on disk."""
