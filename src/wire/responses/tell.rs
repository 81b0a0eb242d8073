//! Numbers the events of a stream as they are written.

use crate::wire::responses::answer::Event;

/// Numbers the events of a stream, or tells nothing, for a body.
#[derive(Debug, Default)]
pub struct Tell {
    sequence_number: u64,
    is_silent: bool,
}

impl Tell {
    /// For a body.
    pub fn nothing() -> Self {
        Self { sequence_number: 0, is_silent: true }
    }

    /// Whether nothing is told.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// The next event's number.
    pub fn next(&mut self) -> u64 {
        let number = self.sequence_number;
        self.sequence_number += 1;
        number
    }

    /// Writes an event under the next number.
    pub fn event(&mut self, kind: &'static str, mut event: Event<'_>, out: &mut Vec<u8>) {
        if !self.is_silent {
            event.kind = kind;
            event.sequence_number = self.next();
            event.write(out);
        }
    }
}
