//! understudy: a sidecar for LLM traffic that caches, compares and decides.
//!
//! The order of the modules is the layering: a module uses only those above it.

// Words: plain data; no IO, async, clock or randomness.
pub mod error;
pub mod chat;
// Rules: pure functions.
pub mod wire;
pub mod tokens;
pub mod provider;
pub mod sigv4;
pub mod bucket;
pub mod memory;
pub mod keyring;
pub mod stats;
pub mod compare;
pub mod experiment;
pub mod health;
pub mod retry;
pub mod quota;
pub mod diff;
pub mod redact;
pub mod key;
pub mod cacheable;
pub mod pair;
pub mod label;
pub mod vital;
pub mod cascade;
pub mod guard;
pub mod price;
pub mod cost;
pub mod tally;
pub mod audit;
pub mod exposure;
pub mod feedback;
pub mod ledger;
pub mod budget;
pub mod caller;
pub mod forecast;
pub mod report;
pub mod sentinel;
pub mod fleet;
pub mod series;
pub mod record;
pub mod page;
pub mod choice;
pub mod config;
pub mod plan;
pub mod sidecar;
pub mod manifest;
// Resources: each owns one outside thing.
pub mod metrics;
pub mod cgroup;
pub mod till;
pub mod store;
pub mod turnstile;
pub mod cache;
pub mod library;
pub mod secrets;
pub mod upstream;
pub mod scene;
pub mod script;
// Work.
pub mod board;
pub mod recorder;
pub mod shadow;
pub mod judge;
pub mod rehearsal;
pub mod backtest;
pub mod labelling;
pub mod exchange;
pub mod director;
pub mod feed;
pub mod ping;
pub mod dossier;
pub mod guardian;
pub mod vigil;
// Edge.
pub mod simulate;
pub mod http;
pub mod webhook;
pub mod app;
pub mod cli;
