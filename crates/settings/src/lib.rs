//! Layered settings, the earlier environment file, and errors that name key, origin and remedy.
