//! Writes down what happens to experiments, and reads from it where each of them stands.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::definition;
use crate::experiment::life::Event;
use crate::experiment::life::Life;
use crate::store::Store;
use crate::store::log::Draft;
use crate::store::log::Entry;

/// What is known of every experiment, by name.
pub type Lives = BTreeMap<String, Life>;

/// The one who writes the decision log.
pub struct Book {
    store: Store,
    writing: Mutex<()>,
    /// What has taken effect and is still to be written.
    owed: Mutex<Vec<Draft>>,
}

impl Book {
    /// The log of a data directory, and what follows from it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(store: Store) -> Result<(Self, Lives)> {
        let audit = store.audit_log()?;
        if let Some(broken) = &audit.broken {
            tracing::error!(
                entry = broken.seq,
                why = broken.why,
                "the decision log is not as it was written: see `understudy experiment log`"
            );
        }
        let lives = lives(&audit.entries);
        Ok((Self { store, writing: Mutex::default(), owed: Mutex::default() }, lives))
    }

    /// Returns once these, and what is owed, are on disk.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn append(&self, drafts: &[Draft]) -> Result<()> {
        let _one_at_a_time = lock(&self.writing);
        let owed = lock(&self.owed).clone();
        let all: Vec<Draft> = owed.iter().chain(drafts).cloned().collect();
        if !all.is_empty() {
            self.store.append_log(&all)?;
        }
        // Those that came meanwhile stand behind what was written.
        lock(&self.owed).drain(..owed.len());
        Ok(())
    }

    /// Notes what has already taken effect; [`Self::append`] writes it.
    pub fn owe(&self, draft: Draft) {
        lock(&self.owed).push(draft);
    }
}

/// Where every experiment stands after these entries.
pub fn lives(entries: &[Entry]) -> Lives {
    let mut lives = Lives::new();
    for entry in entries {
        let life = lives.entry(entry.experiment.clone()).or_default();
        match life.after(&entry.event) {
            Ok(next) => *life = next,
            Err(error) => {
                let name = &entry.experiment;
                tracing::warn!(entry = entry.seq, experiment = name, %error, "passed over");
            }
        }
    }
    lives
}

/// What happens because the files define these experiments and no others.
///
/// # Errors
/// Something cannot happen where an experiment stands.
pub fn meet(lives: &Lives, experiments: &[Experiment], at_ms: i64) -> Result<Vec<Draft>> {
    let mut drafts = Vec::new();
    for experiment in experiments {
        let name = &experiment.name;
        let mut life = lives.get(name).cloned().unwrap_or_default();
        for event in life.meets(experiment) {
            life = life.after(&event)?;
            drafts.push(draft(name, &life, event, at_ms));
        }
    }
    let is_defined = |name: &String| experiments.iter().any(|e| e.name == *name);
    let gone = lives.iter().filter(|(name, life)| life.is_defined && !is_defined(name));
    drafts.extend(gone.map(|(name, life)| draft(name, life, Event::Removed {}, at_ms)));
    Ok(drafts)
}

/// What is to be written of an event that led to `life`.
pub fn draft(name: &str, life: &Life, event: Event, at_ms: i64) -> Draft {
    let definition = definition::digest(&life.parts);
    Draft { at_ms, experiment: name.to_owned(), event, definition }
}

/// Lets what is written happen.
pub fn settle(lives: &mut Lives, drafts: &[Draft]) -> Result<()> {
    for Draft { experiment, event, .. } in drafts {
        let life = lives.entry(experiment.clone()).or_default();
        *life = life.after(event)?;
    }
    Ok(())
}

/// A lock whose holder cannot have left anything half done.
pub fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
