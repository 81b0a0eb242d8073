//! The report of an experiment and what it rests on, taken at one moment.

use std::sync::Arc;

use crate::board::Board;
use crate::experiment::Experiment;
use crate::forecast::outlook;
use crate::forecast::outlook::Outlook;
use crate::guard::Seen;
use crate::ledger;
use crate::record::Tallies;
use crate::report;
use crate::report::Counted;
use crate::report::Detail;
use crate::report::Remaining;
use crate::report::Report;
use crate::report::drift;
use crate::report::hygiene;
use crate::report::next;
use crate::stats::Verdict;
use crate::stats::plan::Pairs;
use crate::tally::AGAIN;
use crate::tally::Tally;

/// A report and the counts it is made of.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The definition in force.
    pub experiment: Arc<Experiment>,
    /// What follows.
    pub report: Report,
    /// What was counted of each candidate.
    pub tallies: Tallies,
    /// What was counted of control against itself.
    pub again: Option<Tally>,
    /// Candidates that have broken a guardrail.
    pub broken: Vec<String>,
}

impl Board {
    /// The report of one experiment, by its name, with everything a person wants to see.
    pub fn full_report(&self, name: &str) -> Option<Report> {
        self.full_snapshot(name).map(|snapshot| snapshot.report)
    }

    /// The same with what it rests on.
    pub fn full_snapshot(&self, name: &str) -> Option<Snapshot> {
        let guardrails = self.guardrails(name);
        let mut snapshot = self.made(name, Detail::Full)?;
        let Snapshot { experiment, report, tallies, .. } = &mut snapshot;
        report.guardrails = guardrails;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let is_open = report.verdict == Verdict::KeepRunning && experiment.is_running();
        report.outlook = is_open.then(|| ahead(report, tallies, now_ms));
        report.next = next::next(report, experiment);
        Some(snapshot)
    }

    /// The verdict on one experiment, by its name, and what it rests on.
    pub fn report(&self, name: &str) -> Option<Report> {
        self.snapshot(name).map(|snapshot| snapshot.report)
    }

    /// The same with the counts it is made of.
    pub fn snapshot(&self, name: &str) -> Option<Snapshot> {
        self.made(name, Detail::Verdict)
    }

    fn made(&self, name: &str, detail: Detail) -> Option<Snapshot> {
        let entry = self.named(name)?;
        let experiment = entry.experiment();
        let mut tallies = entry.counts().tallies.clone();
        let again = tallies.remove(AGAIN);
        let (funnel, broken) = (entry.funnel(), entry.watch().seen().broken());
        let counted =
            Counted { funnel: &funnel, tallies: &tallies, again: again.as_ref(), broken: &broken };
        let mut report = report::report(&experiment, counted, detail);
        let today = ledger::day(jiff::Timestamp::now().as_millisecond());
        let (today, total) = {
            let ledger = self.ledger();
            (ledger.of(today, name), ledger.total(name))
        };
        let counts = entry.counts();
        let seen = hygiene::Seen {
            exposures: &counts.exposures,
            opinions: &counts.opinions,
            again: again.as_ref(),
            copies_nano_usd: (today, total),
        };
        hygiene::complete(&mut report, &experiment, &seen);
        report::overrule(&mut report);
        drift::mark(&mut report, &experiment);
        drop(counts);
        Some(Snapshot { experiment, report, tallies, again, broken })
    }

    /// What live answers have said of the variants of one experiment.
    pub fn seen(&self, name: &str) -> Option<Seen> {
        self.named(name).map(|entry| entry.watch().seen().clone())
    }
}

/// What is still to come: until the candidate that the verdict is about is decided, because the
/// first that may ship ends it.
fn ahead(report: &Report, tallies: &Tallies, now_ms: i64) -> Outlook {
    let left = next::best(report).and_then(|(_, view)| view.remaining);
    let left = left.map(|Remaining { n50, n80 }| Pairs { n50, n80 });
    let pairs: u64 = tallies.values().map(Tally::scored).sum();
    let views = || report.candidates.values();
    let copies = views().map(|view| Some(view.paired.cost_usd?.candidate)).sum::<Option<f64>>();
    let copy = copies.map(|copies| copies / views().len().max(1) as f64);
    let judged = report.cost_usd.filter(|_| pairs > 0).map(|usd| usd / pairs as f64);
    let each = judged.zip(copy).map(|(judge, copy)| judge + copy);
    outlook::outlook(left, report.candidates.len(), &report.funnel.tide, now_ms, each)
}
