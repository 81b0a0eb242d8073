//! The whole proxy between a real client and a scripted provider, over sockets of this machine.

mod again;
mod border;
mod broken;
mod bytes;
mod cache_policy;
mod caching;
mod cascading;
mod choosing;
mod hits;
mod coalescing;
mod exposure;
mod guard;
mod isolation;
mod keys;
mod limiting;
mod pump;
mod refusal;
mod routing;
mod shadowing;
mod socket;
mod translation;
