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
use crate::report::Detail;
use crate::report::Report;
use crate::report::drift;
use crate::report::hygiene;
use crate::report::next;
use crate::stats::Verdict;
use crate::stats::plan::Pairs;
use crate::tally::AGAIN;

/// A report and the counts it is made of.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The definition in force.
    pub experiment: Arc<Experiment>,
    /// What follows.
    pub report: Report,
    /// What was counted of each candidate.
    pub tallies: Tallies,
}

impl Board {
    /// The report of one experiment, by its name, with everything a person wants to see.
    pub fn full_report(&self, name: &str) -> Option<Report> {
        self.fully_counted(name).map(|counted| counted.report)
    }

    /// The same with what it rests on.
    pub fn fully_counted(&self, name: &str) -> Option<Counted> {
        let guardrails = self.guardrails(name);
        let mut counted = self.made(name, Detail::Full)?;
        let Counted { experiment, report, tallies } = &mut counted;
        report.guardrails = guardrails;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let is_open = report.verdict == Verdict::KeepRunning && experiment.is_running();
        report.outlook = is_open.then(|| ahead(report, tallies, now_ms));
        let routing = report.routing.clone();
        report.next = next::next(report, experiment, routing.as_deref());
        Some(counted)
    }

    /// The report of one experiment, by its name, but for what its guardrails say.
    pub fn report(&self, name: &str) -> Option<Report> {
        self.counted(name).map(|counted| counted.report)
    }

    /// The same with what it rests on.
    pub fn counted(&self, name: &str) -> Option<Counted> {
        self.made(name, Detail::Verdict)
    }

    fn made(&self, name: &str, detail: Detail) -> Option<Counted> {
        let entry = self.named(name)?;
        let experiment = entry.experiment();
        let mut tallies = entry.counts().tallies.clone();
        let again = tallies.remove(AGAIN);
        let (funnel, broken) = (entry.funnel(), entry.watch().seen().broken());
        let basis = report::Counted {
            funnel: &funnel,
            tallies: &tallies,
            again: again.as_ref(),
            broken: &broken,
        };
        let mut report = report::report(&experiment, basis, detail);
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
        Some(Counted { experiment, report, tallies })
    }

    /// What live answers have said of the variants of one experiment.
    pub fn seen(&self, name: &str) -> Option<Seen> {
        self.named(name).map(|entry| entry.watch().seen().clone())
    }
}

/// What is still to come: until the last of the candidates is decided.
fn ahead(report: &Report, tallies: &Tallies, now_ms: i64) -> Outlook {
    let open = report.candidates.values().filter(|view| view.verdict == Verdict::KeepRunning);
    let left = open.map(|view| view.remaining);
    let left = left.collect::<Option<Vec<_>>>().and_then(|left| {
        let n50 = left.iter().map(|left| left.n50).max()?;
        Some(Pairs { n50, n80: left.iter().map(|left| left.n80).max()? })
    });
    let pairs: u64 = tallies.values().map(|tally| tally.win_rate.pairs()).sum();
    let spent = report.cost_usd.map(|judge| judge + report.copies.total_usd);
    let each = spent.filter(|_| pairs > 0).map(|spent| spent / pairs as f64);
    outlook::outlook(left, report.candidates.len(), &report.funnel.tide, now_ms, each)
}
