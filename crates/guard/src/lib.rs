//! Principals, modes and what a caller may do.
