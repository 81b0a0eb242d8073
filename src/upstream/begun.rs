//! What was read of an answer before anyone was told of it.

use bytes::Bytes;

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::Frame;
use crate::chat::fold::Fold;
use crate::wire::Decode;
use crate::wire::Dialect;
use crate::wire::Frames;

/// The beginning of an answer, or all of it, with what it says.
pub struct Begun {
    /// What divides and decodes a stream, with the events that nobody has taken yet.
    pub reader: Reader,
    /// Its bytes, in the pieces they came in.
    pub pieces: Vec<Frame>,
    /// What a whole body says, once all of it is there.
    pub answer: Option<Answer>,
    size: usize,
}

/// Reads a stream of events.
pub struct Reader {
    /// Bytes to frames.
    pub frames: Frames,
    /// Frames to events.
    pub decoder: Box<dyn Decode>,
    /// Events that nobody has taken yet.
    pub events: Vec<ChatEvent>,
    /// Events that were taken.
    pub fold: Fold,
}

impl Begun {
    /// Nothing read.
    pub fn new(dialect: &dyn Dialect) -> Self {
        Self { reader: Reader::new(dialect), pieces: Vec::new(), answer: None, size: 0 }
    }

    /// Keeps another piece.
    pub fn keep(&mut self, piece: Frame) {
        self.size = self.size.saturating_add(piece.bytes.len());
        self.pieces.push(piece);
    }

    /// The bytes that were read.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Reader {
    /// Before the first byte.
    pub fn new(dialect: &dyn Dialect) -> Self {
        Self {
            frames: Frames::new(dialect.framing()),
            decoder: dialect.decoder(),
            events: Vec::new(),
            fold: Fold::new(),
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &Bytes) {
        let Self { frames, decoder, events, .. } = self;
        frames.push(piece, |event| decoder.decode(event, events));
    }

    /// The body has ended: what is left of an unfinished frame counts, too.
    pub fn finish(&mut self, dialect: &dyn Dialect) {
        let Self { frames, decoder, events, .. } = self;
        let frames = std::mem::replace(frames, Frames::new(dialect.framing()));
        frames.finish(|event| decoder.decode(event, events));
    }
}
