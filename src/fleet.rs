//! One verdict of many sidecars: what each has counted, as it is passed on, and their sum.
//!
//! Each sidecar gives a summary under a name of its own with a version. Of every name the newest is
//! taken, so that the same summary may come twice and an old one may come late; the sum of whole
//! numbers is the same in whatever order. The verdict is read off the sum, because intervals and
//! p-values of parts cannot be put together.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::definition;
use crate::exposure::Exposures;
use crate::guard::Seen;
use crate::guard::Watch;
use crate::report;
use crate::report::Counted;
use crate::report::Detail;
use crate::report::Report;
use crate::report::hygiene;
use crate::tally::AGAIN;
use crate::tally::Funnel;
use crate::tally::Tally;

/// The shape of a summary; another one is refused.
const SHAPE: u32 = 1;

/// What one sidecar has counted of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The shape of what follows.
    pub understudy: u32,
    /// The experiment's name.
    pub experiment: String,
    /// A hash of what it compares and how: only alike summaries add up.
    pub definition: String,
    /// Who counted: a name that its data directory keeps.
    pub replica: String,
    /// Of one replica's summaries the one with the highest is the newest.
    pub version: u64,
    /// What was counted.
    pub counts: Counts,
}

/// What adds up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// From matched requests to scores.
    pub funnel: Funnel,
    /// By candidate, and of control when it was asked again.
    pub tallies: BTreeMap<String, Tally>,
    /// Who met what.
    pub exposures: Exposures,
    /// What live answers say of the variants.
    pub seen: Seen,
    /// What copies cost on all days, billionths of a dollar.
    pub copies_nano_usd: u64,
}

/// The newest summary of each sidecar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    newest: BTreeMap<String, (u64, Counts)>,
}

impl Summary {
    /// What a sidecar has counted of an experiment.
    pub fn new(experiment: &Experiment, replica: String, version: u64, counts: Counts) -> Self {
        let (name, definition) = (experiment.name.clone(), definition::essence(experiment));
        Self { understudy: SHAPE, experiment: name, definition, replica, version, counts }
    }

    /// Reads one that was saved.
    ///
    /// # Errors
    /// It is none, or of another version of the program.
    pub fn read(json: &[u8]) -> Result<Self> {
        let what = |why: String| Error::new(Kind::BadRequest, why);
        let summary: Self = serde_json::from_slice(json).map_err(|error| {
            what(format!("it is no summary as GET /api/v1/experiments/NAME/summary gives: {error}"))
        })?;
        match summary.understudy {
            SHAPE => Ok(summary),
            other => Err(what(format!("it has shape {other}, and this program reads {SHAPE}"))),
        }
    }
}

impl Counts {
    /// Takes in what another sidecar counted.
    pub fn merge(&mut self, other: &Self) {
        self.funnel.merge(&other.funnel);
        for (name, tally) in &other.tallies {
            self.tallies.entry(name.clone()).or_default().merge(tally);
        }
        self.exposures.merge(&other.exposures);
        self.seen.merge(&other.seen);
        self.copies_nano_usd = self.copies_nano_usd.saturating_add(other.copies_nano_usd);
    }
}

impl Fleet {
    /// Takes a summary in; one that is older than what is known of its replica changes nothing.
    ///
    /// # Errors
    /// It is of another experiment, or of one that compares something else.
    pub fn take(&mut self, experiment: &Experiment, summary: Summary) -> Result<()> {
        let Summary { experiment: name, definition, replica, version, counts, .. } = summary;
        let what = match name == experiment.name {
            false => format!("it is of experiment \"{name}\", not of \"{}\"", experiment.name),
            true if definition != definition::essence(experiment) => format!(
                "it is of another definition of \"{name}\": its numbers would be mixed with others"
            ),
            true => {
                let known = self.newest.get(&replica).map(|(version, _)| *version);
                if known.is_none_or(|known| known < version) {
                    self.newest.insert(replica, (version, counts));
                }
                return Ok(());
            }
        };
        Err(Error::new(Kind::BadRequest, what))
    }

    /// How many sidecars it knows of.
    pub fn replicas(&self) -> usize {
        self.newest.len()
    }

    /// What all have counted together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.newest.values().for_each(|(_, counts)| total.merge(counts));
        total
    }

    /// The report on all together. What a single sidecar has decided does not bind it.
    pub fn report(&self, experiment: &Experiment) -> Report {
        let mut experiment = experiment.clone();
        experiment.standing.verdict = None;
        let Counts { funnel, mut tallies, exposures, seen, copies_nano_usd } = self.total();
        let again = tallies.remove(AGAIN);
        let mut broken = seen.broken();
        let watch = Watch::resume(&experiment, seen);
        let names = experiment.candidates.iter().map(|candidate| &candidate.variant.name);
        let guardrails: BTreeMap<_, _> =
            names.map(|name| (name.clone(), watch.views(name))).collect();
        let breached = |views: &&Vec<crate::guard::View>| {
            views.iter().any(|view| view.health == crate::guard::Health::Breached)
        };
        let found = guardrails.iter().filter(|(_, views)| breached(views));
        broken.extend(found.map(|(name, _)| name.clone()));
        let counted =
            Counted { funnel: &funnel, tallies: &tallies, again: again.as_ref(), broken: &broken };
        let report = report::report(&experiment, counted, Detail::Full);
        let mut report = Report { guardrails, replicas: self.replicas(), ..report };
        let seen = hygiene::Seen {
            exposures: &exposures,
            opinions: &BTreeMap::new(),
            again: again.as_ref(),
            copies_nano_usd: (0, copies_nano_usd),
        };
        hygiene::complete(&mut report, &experiment, &seen);
        report
    }
}
