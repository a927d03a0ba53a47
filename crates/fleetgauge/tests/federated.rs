//! Federations.
