//! Looks at the guardrails of one experiment as its answers come in.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use super::Health;
use super::Pairing;
use super::View;
use super::view;
use crate::experiment::Experiment;
use crate::experiment::Guardrail;
use crate::experiment::Limit;
use crate::experiment::Metric;
use crate::stats::grid::Grid;
use crate::vital::Sample;
use crate::vital::Vitals;

/// Below this many requests of a variant, each of them is worth a look.
const ALWAYS: u64 = 256;

/// Above it, a look is due when they have grown by one part in this many: evidence moves with the
/// logarithm of time, so nothing is noticed late, and a long experiment costs hardly any looks.
const GROWTH: u64 = 64;

/// The guardrails of one experiment in one epoch, and what was seen of its variants.
///
/// The bounds hold at every look, so when to look is only a question of effort; it is settled
/// here, so that a simulation looks as often as production.
#[derive(Clone, Debug)]
pub struct Watch {
    guardrails: Vec<Guardrail>,
    control: String,
    /// The chance that one guardrail stops one candidate that keeps to its limit.
    alpha: f64,
    grid: Grid,
    seen: Seen,
}

/// What was seen so far; all that a restart needs to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    control: Vitals,
    candidates: BTreeMap<String, Arm>,
}

/// One candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    vitals: Vitals,
    /// Requests of control and of the candidate at the last look.
    looked: (u64, u64),
    /// Whether a guardrail has stopped it: said once, and never taken back.
    breached: bool,
}

/// A candidate that must be stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// Its name.
    pub candidate: String,
    /// What is worse.
    pub guardrail: Guardrail,
    /// Control's estimate: a share, dollars, tokens or seconds.
    pub control: Option<f64>,
    /// The candidate's.
    pub found: Option<f64>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.metric();
        let limit = match self.guardrail.limit {
            Limit::MaxIncrease(limit) => format!("{limit} more"),
            Limit::MaxRatio(limit) => format!("{limit} times as much"),
        };
        let figure = |figure: Option<f64>| match figure {
            Some(figure) => format!("{figure:.6}"),
            None => "unknown".to_owned(),
        };
        let (found, control) = (figure(self.found), figure(self.control));
        write!(
            f,
            "{} is {found}, control's {control}, and at most {limit} is allowed",
            metric.name()
        )
    }
}

impl Breach {
    /// What is worse.
    pub fn metric(&self) -> Metric {
        self.guardrail.metric
    }
}

impl Watch {
    /// Begins with nothing seen.
    pub fn new(experiment: &Experiment) -> Watch {
        Watch::resume(experiment, Seen::default())
    }

    /// Goes on with what was seen, in the same epoch. Each guardrail is held to alpha over the
    /// number of guardrails and candidates, so all together stop a candidate without reason in at
    /// most alpha of all experiments.
    pub fn resume(experiment: &Experiment, mut seen: Seen) -> Watch {
        let names: Vec<&String> = experiment.candidates.iter().map(|c| &c.variant.name).collect();
        seen.candidates.retain(|name, _| names.contains(&name));
        for name in &names {
            let arm = seen.candidates.entry((*name).clone()).or_default();
            // What was noticed just before a crash, and not acted on, is noticed again.
            arm.breached &= experiment.standing.halted.contains(name);
        }
        let claims = (experiment.guardrails.len() * names.len()).max(1);
        Watch {
            guardrails: experiment.guardrails.clone(),
            control: experiment.control.name.clone(),
            alpha: experiment.decide.alpha / claims as f64,
            grid: Grid::default(),
            seen,
        }
    }

    /// Takes in what an answer of `variant` says; gives the guardrails that it has made break, of
    /// each candidate only the first time. An unknown variant is nobody's.
    pub fn add(&mut self, variant: &str, sample: &Sample) -> Vec<Breach> {
        if variant == self.control {
            self.seen.control.add(sample);
        } else if let Some(arm) = self.seen.candidates.get_mut(variant) {
            arm.vitals.add(sample);
        }
        let Watch { guardrails, alpha, grid, seen, .. } = self;
        let Seen { control, candidates } = seen;
        let due = candidates.iter_mut().filter(|(_, arm)| arm.is_due(control.requests()));
        due.flat_map(|(name, arm)| arm.look(name, guardrails, control, grid, *alpha)).collect()
    }

    /// What was seen so far.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Every guardrail of a candidate as a report shows it.
    pub fn views(&self, candidate: &str) -> Vec<View> {
        let Some(arm) = self.seen.candidates.get(candidate) else { return Vec::new() };
        let show = |rail| view(rail, &self.seen.control, &arm.vitals, self.alpha);
        self.guardrails.iter().map(show).collect()
    }

    /// What every guardrail of a candidate says; cheap, unlike [`Watch::views`].
    pub fn health(&self, candidate: &str) -> Vec<(Metric, Health)> {
        let Some(arm) = self.seen.candidates.get(candidate) else { return Vec::new() };
        let health = |rail: &Guardrail| {
            let pairing = Pairing::new(rail, &self.seen.control, &arm.vitals);
            (rail.metric, pairing.health(&self.grid, self.alpha))
        };
        self.guardrails.iter().map(health).collect()
    }
}

impl Seen {
    /// The vitals of a candidate, for a report.
    pub fn candidate(&self, name: &str) -> Option<&Vitals> {
        self.candidates.get(name).map(|arm| &arm.vitals)
    }

    /// Candidates that a guardrail has stopped.
    pub fn broken(&self) -> Vec<String> {
        let broken = self.candidates.iter().filter(|(_, arm)| arm.breached);
        broken.map(|(name, _)| name.clone()).collect()
    }

    /// Takes in what another process saw.
    pub fn merge(&mut self, other: &Seen) {
        self.control.merge(&other.control);
        for (name, theirs) in &other.candidates {
            let arm = self.candidates.entry(name.clone()).or_default();
            arm.vitals.merge(&theirs.vitals);
            arm.breached |= theirs.breached;
            arm.looked.0 += theirs.looked.0;
            arm.looked.1 += theirs.looked.1;
        }
    }

    /// Requests of all variants.
    pub fn requests(&self) -> u64 {
        let arms = self.candidates.values().map(|arm| arm.vitals.requests());
        arms.fold(self.control.requests(), u64::saturating_add)
    }

    /// The vitals of control.
    pub fn control(&self) -> &Vitals {
        &self.control
    }
}

impl Arm {
    fn is_due(&self, control: u64) -> bool {
        let grown = |now: u64, last: u64| {
            now > last && (now < ALWAYS || now - last >= now.div_ceil(GROWTH))
        };
        let (of_control, own) = self.looked;
        !self.breached && (grown(control, of_control) || grown(self.vitals.requests(), own))
    }

    fn look(
        &mut self,
        name: &str,
        guardrails: &[Guardrail],
        control: &Vitals,
        grid: &Grid,
        alpha: f64,
    ) -> Vec<Breach> {
        self.looked = (control.requests(), self.vitals.requests());
        let broken = guardrails.iter().filter_map(|rail| {
            let pairing = Pairing::new(rail, control, &self.vitals);
            (pairing.health(grid, alpha) == Health::Breached).then(|| Breach {
                candidate: name.to_owned(),
                guardrail: *rail,
                control: pairing.control.estimate(),
                found: pairing.candidate.estimate(),
            })
        });
        let broken: Vec<Breach> = broken.collect();
        self.breached = !broken.is_empty();
        broken
    }
}
