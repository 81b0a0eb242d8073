//! One source read by several: whoever waits drives it, and everyone gets all of it.
//!
//! There is no task and no leader. A reader that finds nothing new polls the source itself, with a
//! waker that wakes all who wait; one that leaves just stops polling. The source leaves the lock
//! while it is polled, so a reader waits for no other one, however slow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;

use crate::error::Error;
use crate::error::Kind;

/// What several can read.
pub trait Source: Send + 'static {
    /// One piece.
    type Item: Clone + Send + 'static;

    /// Polls for the next piece; after `None` it is not polled again.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>>;

    /// What a piece costs to keep, bytes.
    fn weight(item: &Self::Item) -> usize;

    /// What readers have to be told at the end beside the pieces.
    fn failure(&self) -> Option<Error>;

    /// Nobody reads any more, and it has not ended.
    fn let_go(self: Box<Self>);
}

/// A source that may be read several times, from its first piece; clones are the same one.
///
/// When the last clone and the last reader are gone, so is the source.
pub struct Broadcast<S: Source>(Arc<Held<S>>);

/// What a reader finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// The next piece.
    Piece(T),
    /// The reader is further behind than may be kept: what came next is gone.
    Lost,
    /// All has been read; with what the source says went wrong.
    End(Option<Error>),
}

/// One who reads everything.
pub struct Reader<S: Source> {
    of: Broadcast<S>,
    at: usize,
    bell: Waker,
}

/// The waker holds what it wakes, and the source holds the waker: this ends the circle.
struct Held<S: Source>(Arc<Inner<S>>);

struct Inner<S: Source>(Mutex<State<S>>);

struct State<S: Source> {
    /// Out while it is polled, and when it has ended.
    source: Option<Box<S>>,
    /// The bell rang since the poll began.
    has_rung: bool,
    pieces: VecDeque<S::Item>,
    /// Pieces before the first one here.
    gone: usize,
    bytes: usize,
    limit: usize,
    seats: Vec<Option<Seat>>,
    end: Option<Option<Error>>,
}

struct Seat {
    next: usize,
    waker: Option<Waker>,
    is_lost: bool,
}

enum Turn<S: Source> {
    Found(Read<S::Item>),
    Wait,
    Drive(Box<S>),
}

impl<S: Source> Clone for Broadcast<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Source> Broadcast<S> {
    /// `pieces` came before the source's next one; at most `limit` bytes are kept for readers.
    pub fn new(source: Box<S>, pieces: Vec<S::Item>, limit: usize) -> Self {
        let state = State {
            source: Some(source),
            has_rung: false,
            bytes: pieces.iter().map(S::weight).sum(),
            pieces: pieces.into(),
            gone: 0,
            limit,
            seats: Vec::new(),
            end: None,
        };
        Self(Arc::new(Held(Arc::new(Inner(Mutex::new(state))))))
    }

    /// Whether all of it is still there and fits into what may be kept.
    pub fn is_open(&self) -> bool {
        let state = self.0.0.lock();
        state.gone == 0 && state.bytes <= state.limit
    }

    /// The first piece, if it has come and is there.
    pub fn first(&self) -> Option<S::Item> {
        let state = self.0.0.lock();
        state.pieces.front().filter(|_| state.gone == 0).cloned()
    }

    /// A reader from the first piece on; `None` when that is gone.
    pub fn read(&self) -> Option<Reader<S>> {
        let mut state = self.0.0.lock();
        if state.gone > 0 {
            return None;
        }
        let seat = Some(Seat { next: 0, waker: None, is_lost: false });
        let at = match state.seats.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                state.seats.push(None);
                state.seats.len() - 1
            }
        };
        if let Some(place) = state.seats.get_mut(at) {
            *place = seat;
        }
        drop(state);
        Some(Reader { of: self.clone(), at, bell: Waker::from(self.0.0.clone()) })
    }
}

impl<S: Source> Reader<S> {
    /// What comes next.
    pub async fn next(&mut self) -> Read<S::Item> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Polls for what comes next.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Read<S::Item>> {
        let inner = &self.of.0.0;
        let source = match inner.turn(self.at, cx.waker()) {
            Turn::Found(read) => return Poll::Ready(read),
            Turn::Wait => return Poll::Pending,
            Turn::Drive(source) => source,
        };
        let mut driving = Driving { inner, source: Some(source) };
        let Some(source) = &mut driving.source else { return Poll::Pending };
        let polled = source.poll_next(&mut Context::from_waker(&self.bell));
        driving.settle(polled, self.at)
    }
}

impl<S: Source> Drop for Reader<S> {
    fn drop(&mut self) {
        // Declared before the lock, so that a waker, which may own anything, goes after it.
        let _seat;
        let mut state = self.of.0.0.lock();
        _seat = state.seats.get_mut(self.at).and_then(Option::take);
        if state.bytes > state.limit {
            state.trim();
        }
    }
}

impl<S: Source> Drop for Held<S> {
    fn drop(&mut self) {
        let source = self.0.lock().source.take();
        if let Some(source) = source {
            source.let_go();
        }
    }
}

/// A source out of the lock; it comes back, or everyone is told that it will not.
struct Driving<'i, S: Source> {
    inner: &'i Inner<S>,
    source: Option<Box<S>>,
}

impl<S: Source> Driving<'_, S> {
    fn settle(mut self, polled: Poll<Option<S::Item>>, at: usize) -> Poll<Read<S::Item>> {
        let Some(source) = self.source.take() else { return Poll::Pending };
        let mut over = None;
        let mut state = self.inner.lock();
        let may_others_miss_it = match polled {
            // Whoever began to wait after the bell rang would wait for a bell that has rung.
            Poll::Pending => {
                state.source = Some(source);
                state.has_rung
            }
            Poll::Ready(Some(item)) => {
                state.source = Some(source);
                state.push(item);
                true
            }
            Poll::Ready(None) => {
                state.end = Some(source.failure());
                over = Some(source);
                true
            }
        };
        let wakers = if may_others_miss_it { state.waiting(Some(at)) } else { Vec::new() };
        let found = state.look(at);
        drop(state);
        drop(over);
        wakers.into_iter().for_each(Waker::wake);
        found.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<S: Source> Drop for Driving<'_, S> {
    fn drop(&mut self) {
        if self.source.is_none() {
            return;
        }
        let mut state = self.inner.lock();
        state.end = Some(Some(Error::new(Kind::Internal, "answering panicked")));
        let wakers = state.waiting(None);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<S: Source> Inner<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, at: usize, waker: &Waker) -> Turn<S> {
        // Declared before the lock, as in the reader's drop.
        let _former;
        let mut state = self.lock();
        if let Some(read) = state.look(at) {
            return Turn::Found(read);
        }
        if let Some(Some(seat)) = state.seats.get_mut(at)
            && !seat.waker.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            _former = seat.waker.replace(waker.clone());
        }
        match state.source.take() {
            None => Turn::Wait,
            Some(source) => {
                state.has_rung = false;
                Turn::Drive(source)
            }
        }
    }
}

impl<S: Source> Wake for Inner<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.lock();
        state.has_rung = true;
        let wakers = state.waiting(None);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<S: Source> State<S> {
    fn look(&mut self, at: usize) -> Option<Read<S::Item>> {
        let seat = self.seats.get_mut(at)?.as_mut()?;
        if seat.is_lost {
            return Some(Read::Lost);
        }
        match seat.next.checked_sub(self.gone).and_then(|index| self.pieces.get(index)) {
            Some(piece) => {
                seat.next += 1;
                Some(Read::Piece(piece.clone()))
            }
            None => self.end.clone().map(Read::End),
        }
    }

    /// The wakers of all who wait, but not of the one at `but`, who is awake.
    fn waiting(&mut self, but: Option<usize>) -> Vec<Waker> {
        let seats = self.seats.iter_mut().enumerate();
        let others = seats.filter(|(at, _)| Some(*at) != but);
        others.filter_map(|(_, seat)| seat.as_mut()?.waker.take()).collect()
    }

    fn push(&mut self, item: S::Item) {
        self.bytes += S::weight(&item);
        self.pieces.push_back(item);
        if self.bytes <= self.limit && self.gone == 0 {
            return;
        }
        self.trim();
        let newest = (self.gone + self.pieces.len()).saturating_sub(1);
        while self.bytes > self.limit
            && let Some(slowest) = self.slowest().filter(|next| *next < newest)
        {
            let behind = self.seats.iter_mut().flatten().filter(|seat| seat.next == slowest);
            behind.for_each(|seat| seat.is_lost = true);
            self.trim();
        }
    }

    /// Lets go what everybody has read.
    fn trim(&mut self) {
        let Some(slowest) = self.slowest() else { return };
        while self.gone < slowest
            && let Some(piece) = self.pieces.pop_front()
        {
            self.bytes -= S::weight(&piece);
            self.gone += 1;
        }
    }

    fn slowest(&self) -> Option<usize> {
        let seats = self.seats.iter().flatten().filter(|seat| !seat.is_lost);
        seats.map(|seat| seat.next).min()
    }
}

#[cfg(test)]
mod tests;
