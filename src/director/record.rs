//! Decides, and writes down beside every decision what it rests on.

use std::collections::BTreeMap;

use crate::board::Counted;
use crate::chat::Answer;
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
use crate::judge::prompt::Order;
use crate::judge::prompt::Question;
use crate::judge::prompt::Way;
use crate::judge::shown::Material;
use crate::record;
use crate::record::Basis;
use crate::stats::Verdict;

/// What an experiment rested on as things stood.
pub fn taken(counted: &Counted, config: &str) -> Record {
    let Counted { experiment, report, tallies } = counted;
    let templates = templates(experiment);
    record::record(&Basis { experiment, report, tallies, config, templates })
}

/// A hash of each text that the judge is asked with: with these and the criteria, whose hash is
/// among the parts of the definition, a person can tell whether two verdicts were asked alike.
fn templates(experiment: &Experiment) -> BTreeMap<String, String> {
    let none = Answer::default();
    let template = |judge: &Judge| {
        let material = &Material::of(judge, &[], &none, &none, None);
        let question = Question { judge, material, order: Order::ControlFirst, fence: "FENCE" };
        let asked = prompt::write(&question, Way::FULL);
        let text = [asked.system, asked.user].join("\n");
        (judge.target.to_string(), blake3::hash(text.as_bytes()).to_hex().to_string())
    };
    experiment.evaluate.judges().iter().map(template).collect()
}

/// What a person decides of an experiment, as an event.
///
/// # Errors
/// A person decides nothing by `keep_running` or `review`.
pub fn overruling(counted: &Counted, verdict: Verdict, why: &str) -> Result<Event> {
    if matches!(verdict, Verdict::KeepRunning | Verdict::Review) {
        let what = "a person decides `ship`, `do_not_ship` or `equivalent`; to go on, resume it";
        return Err(Error::new(Kind::BadRequest, what));
    }
    let instead_of = counted.report.overruled.as_ref().map(|before| before.instead_of);
    let instead_of = instead_of.unwrap_or(counted.report.verdict);
    let overruled = Overruled { verdict, instead_of, by: By::Person, why: why.to_owned() };
    let candidates = counted.experiment.candidates.iter();
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
            let Some(mut counted) = self.board.counted(&experiment.name) else { continue };
            let verdict = counted.report.verdict;
            if verdict == Verdict::KeepRunning {
                continue;
            }
            counted.report.guardrails = self.board.guardrails(&experiment.name);
            let decided = Event::Decided { verdict, verdicts: record::rulings(&counted.report) };
            let recorded = self.recorded(&counted);
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
        let recorded = self.board.fully_counted(name).map(|counted| self.recorded(&counted));
        self.change(name, |_| Ok(std::iter::once(stopped).chain(recorded).collect()))
    }

    /// A person decides, whatever the evidence says.
    ///
    /// # Errors
    /// There is no such experiment, it has not begun, the verdict is none that a person gives, or
    /// the log cannot be written.
    pub fn overrule(&self, name: &str, verdict: Verdict, why: &str) -> Result<()> {
        let Some(mut counted) = self.board.fully_counted(name) else {
            return self.change(name, |_| Ok(Vec::new()));
        };
        let event = overruling(&counted, verdict, why)?;
        if let Event::Overruled { overruled, .. } = &event {
            counted.report.overruled = Some(overruled.clone());
        }
        let recorded = self.recorded(&counted);
        self.change(name, |_| Ok(vec![event, recorded]))
    }

    fn recorded(&self, counted: &Counted) -> Event {
        Event::Recorded { record: Box::new(taken(counted, &self.files().hash)) }
    }
}
