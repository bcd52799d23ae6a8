"""KohakuHub's own HTTP API."""
