"""Bundles made ahead: a file of all branches and tags that a clone may begin with (gitformat-bundle, bundle-uri)."""
