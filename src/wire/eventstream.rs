//! Amazon's binary event stream framing; being written.

use crate::wire::sse;

/// Divides a byte stream into events.
#[derive(Debug, Default)]
pub struct Parser {}

impl Parser {
    /// Before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece and hands every event it completes to `on_event`.
    pub fn push(&mut self, _piece: &[u8], _on_event: impl FnMut(&sse::Event)) {}

    /// At the end of the stream.
    pub fn finish(self, _on_event: impl FnMut(&sse::Event)) {}
}
