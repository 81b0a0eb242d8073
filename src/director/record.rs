//! Decides, and writes down beside every decision what it rests on.

use std::collections::BTreeMap;

use crate::board::Snapshot;
use crate::director::Director;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Judge;
use crate::experiment::Overruled;
use crate::experiment::life::By;
use crate::experiment::life::Event;
use crate::experiment::record::Record;
use crate::judge::prompt;
use crate::judge::prompt::Extras;
use crate::judge::prompt::Order;
use crate::judge::prompt::Question;
use crate::judge::prompt::Way;
use crate::judge::shown::Material;
use crate::price::Prices;
use crate::record;
use crate::record::Basis;
use crate::stats::Verdict;

/// What an experiment rested on as things stood.
pub fn taken(snapshot: &Snapshot, config: &str, prices: &Prices) -> Record {
    let Snapshot { experiment, report, tallies, again, broken } = snapshot;
    let (templates, again) = (templates(experiment), again.as_ref());
    record::record(&Basis { experiment, report, tallies, again, broken, config, prices, templates })
}

/// A hash of all that each judge is told besides the texts: with these and the criteria, whose
/// hash is among the parts of the definition, a person can tell whether two verdicts were asked
/// alike.
fn templates(experiment: &Experiment) -> BTreeMap<String, String> {
    let material = Material::default();
    let asked = |judge: &Judge| {
        let question =
            Question { judge, material: &material, order: Order::ControlFirst, fence: "FENCE" };
        let asked = prompt::write(&question, Way { extras: Extras::None, temperature: false });
        let text = [asked.system, asked.user].join("\n");
        (judge.target.to_string(), blake3::hash(text.as_bytes()).to_hex().to_string())
    };
    experiment.evaluate.judges().iter().map(asked).collect()
}

/// What a person decides of an experiment, as an event.
///
/// # Errors
/// A person decides nothing by `keep_running` or `review`.
pub fn overruling(snapshot: &Snapshot, verdict: Verdict, why: &str) -> Result<Event> {
    if matches!(verdict, Verdict::KeepRunning | Verdict::Review) {
        let what = "a person decides `ship`, `do_not_ship` or `equivalent`; to go on, resume it";
        return Err(Error::new(Kind::BadRequest, what));
    }
    let instead_of = snapshot.report.overruled.as_ref().map(|before| before.instead_of);
    let instead_of = instead_of.unwrap_or(snapshot.report.verdict);
    let overruled = Overruled { verdict, instead_of, by: By::Person, why: why.to_owned() };
    let candidates = snapshot.experiment.candidates.iter();
    let halts = match verdict {
        Verdict::DoNotShip => candidates.map(|c| c.variant.name.clone()).collect(),
        _ => Vec::new(),
    };
    Ok(Event::Overruled { overruled, halts })
}

impl Director {
    /// Ends every experiment that has its verdict.
    pub fn judge(&self) {
        for experiment in self.board.experiments().iter().filter(|e| e.is_running()) {
            let Some(mut snapshot) = self.board.snapshot(&experiment.name) else { continue };
            let verdict = snapshot.report.verdict;
            if verdict == Verdict::KeepRunning {
                continue;
            }
            snapshot.report.guardrails = self.board.guardrails(&experiment.name);
            let decided = Event::Decided { verdict, verdicts: record::rulings(&snapshot.report) };
            let recorded = self.recorded(&snapshot);
            let name = &experiment.name;
            match self.change(name, |_| Ok(vec![decided, recorded])) {
                Ok(()) => tracing::info!(experiment = name, %verdict, "decided"),
                Err(error) => tracing::warn!(experiment = name, %error, "not decided"),
            }
        }
    }

    /// The experiment ends.
    ///
    /// # Errors
    /// There is no such experiment, it has ended, or the log cannot be written.
    pub fn stop(&self, name: &str, by: By, why: &str) -> Result<()> {
        let stopped = Event::Stopped { by, why: why.to_owned() };
        let recorded = self.board.full_snapshot(name).map(|snapshot| self.recorded(&snapshot));
        self.change(name, |_| Ok(std::iter::once(stopped).chain(recorded).collect()))
    }

    /// A person decides, whatever the evidence says.
    ///
    /// # Errors
    /// There is no such experiment, it has not begun, the verdict is none that a person gives, or
    /// the log cannot be written.
    pub fn overrule(&self, name: &str, verdict: Verdict, why: &str) -> Result<()> {
        let Some(mut snapshot) = self.board.full_snapshot(name) else {
            return self.change(name, |_| Ok(Vec::new()));
        };
        let event = overruling(&snapshot, verdict, why)?;
        if let Event::Overruled { overruled, .. } = &event {
            snapshot.report.overruled = Some(overruled.clone());
        }
        let recorded = self.recorded(&snapshot);
        self.change(name, |_| Ok(vec![event, recorded]))
    }

    fn recorded(&self, snapshot: &Snapshot) -> Event {
        let (files, config) = (self.files(), self.config());
        Event::Recorded { record: Box::new(taken(snapshot, &files.hash, &config.prices)) }
    }
}
