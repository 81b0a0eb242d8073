//! Everything that is tested from outside the modules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod recordings;
mod shared;
