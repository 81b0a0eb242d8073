//! How an answer ended, and what it came to: what is told of it, once.

use crate::chat::Answer;
use crate::chat::Frame;
use crate::error::Error;

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The provider ended it and it reads as an answer.
    Whole,
    /// The provider ended it, but it is an error or lacks its end.
    Unfinished,
    /// The connection broke or a time limit passed.
    Cut(Error),
    /// It is larger than what may be kept; it went through whole.
    TooLarge,
    /// The application left first.
    ClientLeft,
    /// The process ended first.
    Stopped,
}

impl Ended {
    /// A short stable word, in metrics and in the store.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Unfinished => "unfinished",
            Self::Cut(_) => "cut",
            Self::TooLarge => "too_large",
            Self::ClientLeft => "client_left",
            Self::Stopped => "stopped",
        }
    }
}

/// The one account of an answer.
#[derive(Debug)]
pub struct Account {
    /// How it ended.
    pub ended: Ended,
    /// What it said; empty when too large.
    pub answer: Answer,
    /// Its bytes; empty when too large.
    pub pieces: Vec<Frame>,
    /// Until the end, microseconds from sending.
    pub took_us: u64,
}

/// Receives the account.
pub type OnEnd = Box<dyn FnOnce(Account) + Send + Sync>;
