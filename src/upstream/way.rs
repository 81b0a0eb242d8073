//! What an application is sent of a provider's stream: all of it, all but the usage, or a translation.

use bytes::Bytes;

use crate::chat::ChatEvent;
use crate::chat::ProviderError;
use crate::chat::fold::Fold;
use crate::error::Error;
use crate::upstream::unasked::WithoutUsage;
use crate::wire::Dialect;
use crate::wire::Encode;

/// What is longer than this is handed on as it is.
const MAX_COPIED_BYTES: usize = 4 << 10;

/// How pieces of a stream become what the application reads.
pub enum Way {
    /// As they are.
    Untouched,
    /// As they are, but for the chunk of usage that only we asked for.
    WithoutUsage(WithoutUsage),
    /// In the application's own dialect.
    Translated(Translation),
}

/// Writes events in the application's dialect.
pub struct Translation {
    encoder: Box<dyn Encode>,
    out: Vec<u8>,
    is_over: bool,
}

impl Translation {
    /// Nothing said yet.
    pub fn new(encoder: Box<dyn Encode>) -> Self {
        Self { encoder, out: Vec::new(), is_over: false }
    }

    fn tell(&mut self, event: &ChatEvent) {
        // Exactly one of the two ends a stream; what a provider says after it is not passed on.
        if !self.is_over {
            self.encoder.encode(event, &mut self.out);
            self.is_over = matches!(event, ChatEvent::Done | ChatEvent::Error(_));
        }
    }

    /// Pieces are small: a copy of the right size is cheaper than a buffer that grows each time.
    fn take(&mut self) -> Option<Bytes> {
        if self.out.is_empty() {
            return None;
        }
        if self.out.len() > MAX_COPIED_BYTES {
            return Some(Bytes::from(std::mem::take(&mut self.out)));
        }
        let piece = Bytes::copy_from_slice(&self.out);
        self.out.clear();
        Some(piece)
    }
}

impl Way {
    /// Takes an event of the provider's stream.
    pub fn tell(&mut self, event: &ChatEvent) {
        if let Self::Translated(translation) = self {
            translation.tell(event);
        }
    }

    /// Whether the application reads something else than the provider wrote.
    pub fn is_translated(&self) -> bool {
        matches!(self, Self::Translated(_))
    }

    /// What has been written since the last time, if anything.
    pub fn take(&mut self) -> Option<Bytes> {
        match self {
            Self::Translated(translation) => translation.take(),
            Self::Untouched | Self::WithoutUsage(_) => None,
        }
    }

    /// What is left when the stream has ended well.
    pub fn finish(&mut self) -> Option<Bytes> {
        match self {
            Self::Translated(translation) => translation.take(),
            Self::WithoutUsage(filter) => filter.finish(),
            Self::Untouched => None,
        }
    }

    /// What is left, and the error that ends it, if it can still be said.
    pub fn fail(&mut self, dialect: &dyn Dialect, error: &Error) -> Option<Bytes> {
        let (status, error) = (error.status(), ProviderError::from(error));
        match self {
            Self::Translated(translation) => {
                translation.tell(&ChatEvent::Error(error));
                translation.take()
            }
            Self::Untouched | Self::WithoutUsage(_) => Some(dialect.error_frame(status, &error)),
        }
    }
}

/// Every event goes into the answer and, in the application's words, on its way.
pub fn tell(events: &mut Vec<ChatEvent>, fold: &mut Fold, way: &mut Way) {
    for event in events.drain(..) {
        way.tell(&event);
        fold.push(event);
    }
}
