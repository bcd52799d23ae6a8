"""Many small packs become one."""
