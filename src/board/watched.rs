//! What live answers say of the variants that gave them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::board::Board;
use crate::board::Entry;
use crate::guard::Breach;
use crate::guard::View;
use crate::vital::Sample;
use crate::vital::Vitals;

impl Board {
    /// Takes in what a live answer says; gives the guardrails that it has made break.
    pub fn served(&self, run: &str, variant: &str, sample: &Sample) -> Vec<Breach> {
        let entry = self.entry(run);
        entry.map(|entry| entry.watch().add(variant, sample)).unwrap_or_default()
    }

    /// A candidate has answered a copy.
    pub fn copied(&self, run: &str, candidate: &str) {
        if let Some(entry) = self.entry(run) {
            *entry.counts().copied.entry(candidate.to_owned()).or_default() += 1;
        }
    }

    /// How often each candidate has answered, applications and copies.
    pub fn answers(&self, run: &str) -> BTreeMap<String, u64> {
        let Some(entry) = self.entry(run) else { return BTreeMap::new() };
        let (experiment, mut answers) = (entry.experiment(), entry.counts().copied.clone());
        let watch = entry.watch();
        for candidate in &experiment.candidates {
            let name = &candidate.variant.name;
            let live = watch.seen().candidate(name).map_or(0, Vitals::requests);
            *answers.entry(name.clone()).or_default() += live;
        }
        answers
    }

    /// What the guardrails of an experiment say, by candidate. It searches for intervals, which
    /// takes long, so it is for reports.
    pub fn guardrails(&self, name: &str) -> BTreeMap<String, Vec<View>> {
        let Some(entry) = self.named(name) else { return BTreeMap::new() };
        let watch = entry.watch().clone();
        let experiment = entry.experiment();
        let names = experiment.candidates.iter().map(|candidate| candidate.variant.name.clone());
        names.map(|name| (name.clone(), watch.views(&name))).collect()
    }

    /// What was seen of live answers, of every experiment that has some new ones, to be stored.
    pub fn vitals(&self) -> Vec<(String, Vec<u8>)> {
        let seen = |entry: &Entry| {
            let watch = entry.watch();
            let requests = watch.seen().requests();
            let is_new = entry.stored.swap(requests, Ordering::Relaxed) != requests;
            is_new.then(|| serde_json::to_vec(watch.seen()).ok()).flatten()
        };
        self.all().into_iter().filter_map(|(run, entry)| Some((run, seen(&entry)?))).collect()
    }
}
