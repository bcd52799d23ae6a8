"""What a push goes through before anything of it can be seen: scan, resolve, fsck, connectivity, index."""
