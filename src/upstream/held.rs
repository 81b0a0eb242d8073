//! Answers that are held back whole until somebody has said whether an application may have them.

use std::pin::Pin;

use http::StatusCode;
use tokio::time::Instant;

use crate::chat::Answer;
use crate::error::Error;
use crate::experiment::Target;
use crate::upstream::Opened;
use crate::upstream::begun::Begun;
use crate::upstream::commit::Flaw;
use crate::upstream::commit::Window;
use crate::upstream::commit::bytes;
use crate::upstream::commit::flaw_of;
use crate::upstream::commit::folded;
use crate::wire;

/// What somebody says once it has thought about it.
pub type Saying<'s> = Pin<Box<dyn Future<Output = bool> + Send + 's>>;

/// An answer that is held back.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Who answered.
    pub target: &'a Target,
    /// Whatever it said.
    pub status: StatusCode,
    /// All that the answer says; nothing of one that is too large to be held.
    pub answer: Option<&'a Answer>,
}

/// Says of an answer whether an application may have it while there is somebody else to ask.
pub trait Check: Sync {
    /// Of what a target answered.
    fn accepts<'s>(&'s self, held: Held<'s>) -> Saying<'s>;
}

impl Opened {
    /// What there is to check.
    pub(super) fn held(&self) -> Held<'_> {
        let answer = self.begun.as_ref().and_then(|begun| begun.answer.as_ref());
        Held { target: &self.target, status: self.status, answer }
    }

    /// Reads an answer that has begun to its end, or until it is too large to be held.
    ///
    /// # Errors
    /// It broke off, took too long, or is none.
    pub(super) async fn hold(&mut self, window: Window) -> Result<(), Flaw> {
        let dialect = self.dialect.dialect();
        let mut begun = self.begun.take().unwrap_or_else(|| Box::new(Begun::new(dialect)));
        let read = self.read_on(&mut begun, window.max_bytes).await;
        let flaw = begun.answer.as_ref().and_then(|answer| flaw_of(answer, window.empty));
        self.begun = Some(begun);
        read?;
        if let Some(flaw) = flaw {
            return Err(flaw);
        }
        // The call is over, although its answer has not gone out yet.
        let usage = self.held().answer.and_then(|answer| answer.usage);
        if let Some(permit) = self.permit.take() {
            permit.settle(usage.as_ref());
        }
        Ok(())
    }

    async fn read_on(&mut self, begun: &mut Begun, most: usize) -> Result<(), Error> {
        let (dialect, is_stream) = (self.dialect.dialect(), self.is_event_stream());
        let idle = if is_stream { self.timeouts.idle } else { self.timeouts.total };
        let end = self.sent + self.timeouts.total;
        while begun.answer.is_none() && begun.size() <= most {
            let until = end.min(Instant::now() + idle);
            if !self.take(begun, until).await? {
                begun.reader.finish(dialect);
                begun.answer = Some(match is_stream {
                    true => folded(begun),
                    false => wire::fold(dialect, false, bytes(begun)),
                });
            } else if let Some(piece) = begun.pieces.last().filter(|_| is_stream) {
                begun.reader.push(&piece.bytes);
            }
        }
        Ok(())
    }
}
