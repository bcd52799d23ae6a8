"""gunicorn's configuration: `gunicorn -c docker/gunicorn.conf.py`. All of it comes from the hub's settings (docs/settings.md)."""

from hub.serving.gunicorn import options

globals().update(options())
