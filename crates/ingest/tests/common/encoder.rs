//! An encoder side.
