"""The bundled environments."""
