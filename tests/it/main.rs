//! Everything that is tested from outside the modules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::needless_pass_by_value,
    clippy::string_slice,
    reason = "a test fails by panicking and tells what it skips"
)]

mod admin;
mod alpaca;
mod assign;
mod backtest;
mod audit;
mod budget;
mod cacheable;
mod callers;
mod config;
mod costs;
mod dialect;
mod evidence;
mod examples;
mod explain;
mod fidelity;
mod fleet;
mod fuzz;
mod harness;
mod inject;
mod judge;
mod key;
mod labels;
mod manifests;
mod life;
mod price;
mod process;
mod provider;
mod proxy;
mod recordings;
mod replay;
mod report;
mod schema;
mod sentinel;
mod shared;
mod sidecar;
mod simulate;
mod startup;
mod stats;
mod store;
mod storm;
mod tidy;
