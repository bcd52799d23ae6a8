"""The application: it assembles the parts, serves them, and is the operator's command."""

VERSION = "0.1.0"
