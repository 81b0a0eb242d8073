//! What a backtest was run on and how it ended, beside its report.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::backtest::history::Run;
use crate::backtest::index::Index;
use crate::backtest::sieve::REASONS;
use crate::cli::backtest::Args;
use crate::cli::remark;
use crate::cli::say;
use crate::cli::say_json;
use crate::cli::table;
use crate::error::Result;
use crate::rehearsal::run::End;
use crate::rehearsal::run::Progress;
use crate::report::Report;
use crate::stats::Verdict;

/// What it was run on.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// Requests that were looked at.
    requests: u64,
    /// Of those, the ones that make no pair, by reason.
    passed_over: BTreeMap<String, u64>,
    /// Requests that make a pair.
    taken: usize,
    /// Of those, the ones that are asked: all, or a sample.
    sample: usize,
    /// Requests of the sample whose answer by control is recorded.
    recorded: usize,
    /// Recorded answers that are not control's.
    others_answers: u64,
    /// Answers to nothing that is asked.
    unasked: u64,
    /// Lines that say nothing usable.
    wrong: u64,
}

#[derive(Serialize)]
struct Told<'t> {
    #[serde(flatten)]
    report: &'t Report,
    backtest: Ended<'t>,
}

#[derive(Serialize)]
struct Ended<'t> {
    #[serde(flatten)]
    about: &'t About,
    ended: &'static str,
    settled: usize,
    spent_usd: f64,
}

impl About {
    /// That of an index of which `limit` requests are asked.
    pub fn of(run: &Run, index: &Index, limit: usize) -> Self {
        let sample = index.entries.len().min(limit);
        let asked = index.entries.iter().take(sample);
        Self {
            requests: run.requests,
            passed_over: run.passed_over.clone(),
            taken: index.entries.len(),
            sample,
            recorded: asked.filter(|entry| entry.answer.is_some()).count(),
            others_answers: index.others_answers,
            unasked: index.unasked,
            wrong: index.wrong,
        }
    }

    /// In a sentence or two.
    pub fn introduction(&self) -> String {
        let Self { requests, taken, sample, recorded, .. } = self;
        let mut text = format!("{taken} of {requests} requests make a pair");
        if !self.passed_over.is_empty() {
            let others = self.passed_over.iter().map(|(why, count)| format!("{why} {count}"));
            text += &format!(" (not: {})", others.collect::<Vec<_>>().join(", "));
        }
        if sample < taken {
            text += &format!("; a sample of {sample} is run");
        }
        text += &format!("; control's answer is recorded for {recorded} of {sample}");
        if *recorded < *sample {
            text += ", for the others it is asked";
        }
        if self.others_answers > 0 {
            text += &format!("; {} recorded answers are not control's", self.others_answers);
        }
        if self.unasked > 0 {
            text += &format!("; {} answers belong to no request", self.unasked);
        }
        text
    }

    /// Why there is nothing to run.
    pub fn nothing(&self) -> String {
        let why = self.passed_over.iter().max_by_key(|(_, count)| **count);
        let why = why.and_then(|(why, _)| REASONS.iter().find(|(name, _)| name == why));
        match why {
            Some((name, meaning)) => {
                format!("no request makes a pair; most often `{name}`: {meaning}")
            }
            None => "no requests are recorded: name a file with --from, or let the sidecar record \
                     some"
                .to_owned(),
        }
    }

    /// Prints the report, and how the backtest ended; gives the verdict.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell(
        &self,
        report: &Report,
        last: Option<&Progress>,
        end: End,
        args: &Args,
    ) -> Result<Verdict> {
        let mut report = report.clone();
        // A crash loses counts of requests, never pairs; how many there are is known here.
        report.funnel.matched = self.taken as u64;
        report.funnel.sampled = self.sample as u64;
        report.funnel.repeated = 0;
        let settled = last.map_or(0, |last| last.settled);
        let spent_usd = last.map_or(0.0, |last| last.spent_usd);
        if args.place.json {
            let ended = Ended { about: self, ended: word(end), settled, spent_usd };
            say_json(&Told { report: &report, backtest: ended })?;
        } else {
            say(&table::report(&report, table::Ink::of_terminal()));
        }
        let left = self.sample.saturating_sub(settled);
        match end {
            End::Complete => {}
            End::Decided if left > 0 => remark(&format!(
                "the verdict was there after {settled} pairs; --all runs the other {left}, too"
            )),
            End::Decided => {}
            End::Spent => remark(&format!(
                "stopped before the limit: {settled} of {} pairs cost ${spent_usd:.4}, and the next \
                 might have cost too much; a higher --max-usd goes on from here",
                self.sample
            )),
            End::Stopped => remark(&format!(
                "stopped after {settled} of {} pairs; the same command goes on from here",
                self.sample
            )),
        }
        Ok(report.verdict)
    }
}

fn word(end: End) -> &'static str {
    match end {
        End::Complete => "complete",
        End::Decided => "decided",
        End::Spent => "spent",
        End::Stopped => "stopped",
    }
}
