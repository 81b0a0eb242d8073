//! stub until the merge
pub mod rule;
