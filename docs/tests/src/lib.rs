//! Takes code out of the documentation, so that tests run what readers copy.

pub mod blocks;
