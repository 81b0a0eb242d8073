//! The life of an experiment: what happens to it, in which order, and where it stands then.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Standing;
use crate::experiment::State;
use crate::experiment::Status;
use crate::experiment::definition;
use crate::experiment::definition::Change;
use crate::experiment::definition::Parts;
use crate::experiment::record::Overruled;
use crate::experiment::record::Record;
use crate::stats::Verdict;

/// What happens to an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A file defines it, for the first time or again after it was gone.
    Defined {
        /// What it says.
        parts: Parts,
    },
    /// Requests take part from now on.
    Started {
        /// The first one.
        epoch: u32,
        /// What it says.
        parts: Parts,
    },
    /// It says something else, and what was measured still counts.
    Changed {
        /// Which parts.
        what: Vec<String>,
        /// What it says now.
        parts: Parts,
    },
    /// It says something else, and what was measured before is kept apart.
    NewEpoch {
        /// Counts from 1.
        epoch: u32,
        /// The parts that changed.
        why: Vec<String>,
        /// What it says now.
        parts: Parts,
    },
    /// Nobody takes part until it is resumed.
    Paused {
        /// Who did it.
        by: By,
        /// In their words.
        why: String,
    },
    /// It goes on.
    Resumed {
        /// Who did it.
        by: By,
    },
    /// Control answers for a candidate from now on.
    Halted {
        /// In which epoch; a later one does not know of it.
        epoch: u32,
        /// Which.
        candidate: String,
        /// Who did it.
        by: By,
        /// In their words.
        why: String,
    },
    /// The next step of the ramp was taken.
    Stepped {
        /// Counts from 1.
        step: usize,
        /// The share of units from now on, parts per million.
        share: u32,
    },
    /// It ended without a verdict.
    Stopped {
        /// Who did it.
        by: By,
        /// In their words.
        why: String,
    },
    /// It ended with a verdict.
    Decided {
        /// The one of the experiment.
        verdict: Verdict,
        /// Those of the candidates, with what they rest on.
        verdicts: BTreeMap<String, Ruling>,
    },
    /// A sentinel found that the answers of what was shipped have moved: the question is open again.
    Drifted {
        /// Which sentinel.
        sentinel: String,
        /// Which of its runs since its answers were pinned, from 1.
        run: u64,
        /// In words, with the numbers.
        why: String,
    },
    /// A person decided, whatever the evidence said.
    Overruled {
        /// What was decided, instead of what, by whom and why.
        #[serde(flatten)]
        overruled: Overruled,
        /// Candidates for whom control answers from now on.
        halts: Vec<String>,
    },
    /// What the verdict before it rested on.
    Recorded {
        /// All of it.
        record: Box<Record>,
    },
    /// No file defines it any more.
    Removed {},
}

/// Who did something to an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A limit was reached.
    Guardrail,
    /// By command or over the admin plane.
    Person,
    /// The money was spent.
    Budget,
    /// What its file says.
    File,
}

/// The verdict on a candidate, and the numbers at that moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ruling {
    /// What follows.
    pub verdict: Verdict,
    /// Scored pairs.
    pub pairs: u64,
    /// Parts per million of pairs won, a tie being half of one; absent before the first pair.
    pub win_ppm: Option<i64>,
    /// Where its interval begins, parts per million.
    pub lower_ppm: i64,
    /// Where its interval ends, parts per million.
    pub upper_ppm: i64,
}

/// What is known of an experiment's life.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// Where it stands.
    pub standing: Standing,
    /// What its definition said last.
    pub parts: Parts,
    /// What its definition said in each former epoch.
    pub former: BTreeMap<u32, Parts>,
    /// Whether a file defines it.
    pub is_defined: bool,
}

impl Default for Life {
    fn default() -> Self {
        let standing = Standing { state: State::Draft, ..Standing::default() };
        Self { standing, parts: Parts::new(), former: BTreeMap::new(), is_defined: false }
    }
}

impl Life {
    /// Its life after an event.
    ///
    /// # Errors
    /// That cannot happen where it stands; the error says what can.
    pub fn after(&self, event: &Event) -> Result<Self> {
        let mut next = Self { standing: self.standing.after(event)?, ..self.clone() };
        match event {
            Event::Defined { parts }
            | Event::Started { parts, .. }
            | Event::Changed { parts, .. } => {
                next.parts.clone_from(parts);
                next.is_defined = true;
            }
            Event::NewEpoch { parts, .. } => {
                let former = std::mem::replace(&mut next.parts, parts.clone());
                next.former.insert(self.standing.epoch, former);
                next.is_defined = true;
            }
            Event::Removed {} => next.is_defined = false,
            Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Halted { .. }
            | Event::Stepped { .. }
            | Event::Stopped { .. }
            | Event::Decided { .. }
            | Event::Drifted { .. }
            | Event::Overruled { .. }
            | Event::Recorded { .. } => {}
        }
        Ok(next)
    }

    /// What happens to an experiment because its file says what it says.
    pub fn meets(&self, experiment: &Experiment) -> Vec<Event> {
        let parts = definition::parts(experiment).into_iter().chain(status(experiment)).collect();
        let is_new = self.parts.is_empty();
        let mut events = Vec::new();
        if !self.is_defined {
            events.push(Event::Defined {
                parts: if is_new { Parts::clone(&parts) } else { self.parts.clone() },
            });
        }
        let (old, new) = (without_status(&self.parts), without_status(&parts));
        let former = self.parts.get(STATUS).map(String::as_str);
        let wish = experiment.intent;
        let change = match is_new || self.standing.state == State::Draft {
            true => Change::Same,
            false => definition::changed(&old, &new),
        };
        let epoch = self.standing.epoch + 1;
        let is_over = matches!(self.standing.state, State::Stopped | State::Decided);
        let begins_again = is_over && wish == Status::Running && former == Some("stopped");
        match (self.standing.state, change) {
            (State::Draft, _) => {
                events.extend(begin(self, wish, &parts));
                return events;
            }
            (_, Change::NewEpoch(why)) => events.push(Event::NewEpoch { epoch, why, parts }),
            (_, _) if begins_again => {
                events.push(Event::NewEpoch { epoch, why: vec![STATUS.to_owned()], parts });
            }
            (_, Change::Allowed(what)) => events.push(Event::Changed { what, parts }),
            (_, Change::Same) if self.parts != parts => {
                events.push(Event::Changed { what: vec![STATUS.to_owned()], parts });
            }
            (_, Change::Same) => {}
        }
        if former != Some(name(wish)) {
            events.extend(obey(self.standing.state, wish, events.last()));
        }
        events
    }
}

const STATUS: &str = "status";

fn status(experiment: &Experiment) -> Option<(String, String)> {
    Some((STATUS.to_owned(), name(experiment.intent).to_owned()))
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Draft => "draft",
        Status::Running => "running",
        Status::Stopped => "stopped",
    }
}

fn without_status(parts: &Parts) -> Parts {
    let rest = parts.iter().filter(|(name, _)| *name != STATUS);
    rest.map(|(name, text)| (name.clone(), text.clone())).collect()
}

/// What happens to an experiment that has not begun.
fn begin(life: &Life, wish: Status, parts: &Parts) -> Vec<Event> {
    let parts = parts.clone();
    let by = By::File;
    match wish {
        Status::Running => vec![Event::Started { epoch: life.standing.epoch, parts }],
        Status::Stopped => vec![Event::Stopped { by, why: String::new() }],
        Status::Draft if life.is_defined && life.parts != parts => vec![Event::Defined { parts }],
        Status::Draft => Vec::new(),
    }
}

/// What a new word in the file does to an experiment that has begun.
fn obey(state: State, wish: Status, last: Option<&Event>) -> Option<Event> {
    let began_again = matches!(last, Some(Event::NewEpoch { .. }));
    let state = match (state, began_again) {
        (State::Stopped | State::Decided, true) => State::Running,
        (state, _) => state,
    };
    let (by, why) = (By::File, String::new());
    match (state, wish) {
        (State::Running, Status::Draft) => Some(Event::Paused { by, why }),
        (State::Paused, Status::Running) => Some(Event::Resumed { by }),
        (State::Running | State::Paused, Status::Stopped) => Some(Event::Stopped { by, why }),
        _ => None,
    }
}

impl Standing {
    /// Where an experiment stands after an event.
    ///
    /// # Errors
    /// That cannot happen where it stands; the error says what can.
    pub fn after(&self, event: &Event) -> Result<Self> {
        use State::Decided;
        use State::Draft;
        use State::Paused;
        use State::Running;
        use State::Stopped;
        let mut next = self.clone();
        match (self.state, event) {
            (_, Event::Defined { .. } | Event::Recorded { .. } | Event::Removed {}) => {}
            // Whatever became of the experiment, the model is what its authors ask about.
            (_, Event::Drifted { sentinel, why, .. }) => {
                next.drifted.get_or_insert(format!("the sentinel {sentinel} found that {why}"));
            }
            (Draft, Event::Started { epoch, .. }) => {
                next = Self { epoch: *epoch, ..Self::default() };
            }
            (Running | Paused | Stopped | Decided, Event::Changed { .. }) => {}
            (Running | Paused | Stopped | Decided, Event::NewEpoch { epoch, .. }) => {
                let state = if self.state == Paused { Paused } else { Running };
                next = Self { state, epoch: *epoch, ..Self::default() };
            }
            (Running, Event::Paused { .. }) => next.state = Paused,
            (Paused, Event::Resumed { .. }) => next.state = Running,
            // It took effect before it was written down, so others may stand before it.
            (Running | Paused | Stopped | Decided, Event::Halted { epoch, candidate, .. }) => {
                if *epoch == self.epoch && !self.halted.contains(candidate) {
                    next.halted.push(candidate.clone());
                }
            }
            (Running, Event::Stepped { step, .. }) if *step == self.step + 1 => next.step = *step,
            (Draft | Running | Paused, Event::Stopped { .. }) => next.state = Stopped,
            (Running | Paused, Event::Decided { verdict, verdicts }) => {
                next.state = Decided;
                next.verdict = Some(*verdict);
                for (candidate, ruling) in verdicts {
                    let won = ruling.win_ppm.and_then(|won| u32::try_from(won).ok());
                    next.won_ppm.extend(won.map(|won| (candidate.clone(), won)));
                    let is_halted = next.halted.contains(candidate);
                    if ruling.verdict == Verdict::DoNotShip && !is_halted {
                        next.halted.push(candidate.clone());
                    }
                }
            }
            (Running | Paused | Stopped | Decided, Event::Overruled { overruled, halts }) => {
                next.state = Decided;
                next.verdict = Some(overruled.verdict);
                next.overruled = Some(overruled.clone());
                let new = halts.iter().filter(|name| !self.halted.contains(*name));
                next.halted.extend(new.cloned());
            }
            (state, event) => return Err(impossible(state, self.step, event)),
        }
        Ok(next)
    }
}

fn impossible(state: State, step: usize, event: &Event) -> Error {
    let what = match event {
        Event::Defined { .. } => "be defined",
        Event::Started { .. } => "start",
        Event::Changed { .. } => "change",
        Event::NewEpoch { .. } => "begin a new epoch",
        Event::Paused { .. } => "be paused",
        Event::Resumed { .. } => "be resumed",
        Event::Halted { .. } => "lose a candidate",
        Event::Stepped { .. } => "take that step",
        Event::Stopped { .. } => "be stopped",
        Event::Decided { .. } | Event::Overruled { .. } => "be decided",
        Event::Drifted { .. } => "drift",
        Event::Recorded { .. } => "be recorded",
        Event::Removed {} => "be removed",
    };
    let (is, can) = match state {
        State::Draft => ("is a draft", "its file can start it with `status: running`".to_owned()),
        State::Running => {
            let next = step + 1;
            ("is running", format!("it can be paused or stopped, or take step {next} of its ramp"))
        }
        State::Paused => ("is paused", "it can be resumed or stopped".to_owned()),
        State::Stopped => ("is stopped", AGAIN.to_owned()),
        State::Decided => ("is decided", AGAIN.to_owned()),
    };
    Error::new(Kind::BadRequest, format!("the experiment {is} and cannot {what}: {can}"))
}

const AGAIN: &str = "a change of what it compares begins a new epoch, and so does setting its \
                     `status` to `stopped` and back to `running`";
