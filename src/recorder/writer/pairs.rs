//! The part of the writer that keeps pairs: promised, answered, given up, scored.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::Config;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Variant;
use crate::ledger;
use crate::ledger::Caps;
use crate::ledger::Reserved;
use crate::pair::Half;
use crate::pair::Intent;
use crate::pair::Origin;
use crate::pair::PairId;
use crate::pair::Scored;
use crate::recorder::Credential;
use crate::recorder::ShadowJob;
use crate::recorder::redaction::Original;
use crate::recorder::writer::Effect;
use crate::recorder::writer::Progress;
use crate::recorder::writer::Writer;
use crate::scene;
use crate::tally::AGAIN;
use crate::tally::UnderWay;

/// What copies are sent with that is never stored.
#[derive(Clone, Debug, Default)]
pub struct Private {
    /// The client's own credential.
    pub credential: Option<Credential>,
    /// What was asked, where something else is stored.
    pub original: Option<Arc<Original>>,
}

impl Writer {
    /// Asks who has not answered of every open pair, and queues what is whole.
    pub(super) fn reopen(&mut self) -> Result<()> {
        for open in self.store.open_pairs()? {
            let candidates = open.head.variants.iter().skip(1);
            let is_scored =
                |name: &&String| self.store.has_score(&open.head.experiment, name, open.id);
            let (scored, unscored): (Vec<&String>, Vec<&String>) = candidates.partition(is_scored);
            if unscored.is_empty() || self.board.experiment(&open.head.experiment).is_none() {
                self.store.close_pair(open.id)?;
                continue;
            }
            let has_score = !scored.is_empty();
            let unscored = unscored.into_iter().cloned().collect();
            let (id, head) = (open.id, open.head.clone());
            let missing = head.variants.iter().filter(|v| !open.answered.contains(v));
            let missing: Vec<String> = missing.cloned().collect();
            let answered = open.answered.into_iter().collect();
            self.open.insert(id, Progress { head: open.head, answered, unscored, has_score });
            let request = self.store.intent(id).map(|intent| intent.request).unwrap_or_default();
            for variant in missing {
                match self.reserve(&head.experiment, &variant, &request) {
                    Ok(reserved) => {
                        let head = head.clone();
                        let (credential, original) = (None, None);
                        let job = ShadowJob { id, head, variant, credential, original, reserved };
                        self.after.push(Effect::Shadow(job));
                    }
                    Err(reason) => self.no_half(id, &variant, reason)?,
                }
            }
            self.queue_whole(id, None);
        }
        self.catch_up();
        Ok(())
    }

    /// Lets the counters know of every open pair.
    fn catch_up(&self) {
        let mut open: HashMap<&str, [UnderWay; 2]> = HashMap::new();
        for Progress { head, answered, unscored, .. } in self.open.values() {
            let [pairs, noise] = open.entry(&head.experiment).or_default();
            let has_control = head.variants.first().is_some_and(|name| answered.contains(name));
            for candidate in unscored {
                let of = if candidate == AGAIN { &mut *noise } else { &mut *pairs };
                match has_control && answered.contains(candidate) {
                    true => of.whole += 1,
                    false => of.waiting += 1,
                }
            }
        }
        for (run, [pairs, noise]) in open {
            self.board.count(run, |funnel| funnel.catch_up(pairs, noise));
        }
    }

    /// Promises a pair of which one half is there already.
    pub(super) fn recorded(
        &mut self,
        id: PairId,
        intent: &Intent,
        half: &Half,
        original: Option<Arc<Original>>,
    ) -> Result<()> {
        let is_open = self.open.contains_key(&id);
        let private = Private { credential: None, original };
        self.promise(id, intent, &half.variant, &private, Some(half))?;
        let Some(progress) = self.open.get_mut(&id).filter(|_| !is_open) else { return Ok(()) };
        progress.answered.insert(half.variant.clone());
        self.queue_whole(id, Some(&half.variant));
        Ok(())
    }

    pub(super) fn intent(
        &mut self,
        id: PairId,
        intent: &Intent,
        live: &str,
        private: &Private,
    ) -> Result<()> {
        self.promise(id, intent, live, private, None)
    }

    fn promise(
        &mut self,
        id: PairId,
        intent: &Intent,
        live: &str,
        private: &Private,
        half: Option<&Half>,
    ) -> Result<()> {
        let name = &intent.head.experiment;
        if self.board.experiment(name).is_none() {
            return Ok(());
        }
        let is_new = self.known.insert(id);
        let (variants, at_ms) = (&intent.head.variants, intent.head.created_ms);
        self.board.count(name, |funnel| {
            funnel.sampled += 1;
            funnel.repeated += u64::from(!is_new);
            if is_new {
                funnel.promise(variants, at_ms);
            }
        });
        self.metrics.step(name, if is_new { "sampled" } else { "repeated" });
        if !is_new {
            return Ok(());
        }
        let asked: Vec<&String> = variants.iter().filter(|variant| *variant != live).collect();
        let reserved = match self.board.is_over(name) {
            Some(reason) => Err(reason),
            None => self.reserve_all(name, &asked, &intent.request),
        };
        let reserved = match reserved {
            Ok(reserved) => reserved,
            Err(reason) => {
                self.known.remove(&id);
                variants.iter().skip(1).for_each(|name| self.lose(intent, name, reason));
                return Ok(());
            }
        };
        self.store.put_intent(id, intent, half)?;
        self.dirty = true;
        for (variant, reserved) in asked.into_iter().zip(reserved) {
            let (head, variant) = (intent.head.clone(), variant.clone());
            let Private { credential, original } = private.clone();
            let job = ShadowJob { id, head, variant, credential, original, reserved };
            self.after.push(Effect::Shadow(job));
        }
        let head = intent.head.clone();
        let unscored = head.variants.iter().skip(1).cloned().collect();
        let progress = Progress { head, answered: HashSet::new(), unscored, has_score: false };
        self.open.insert(id, progress);
        Ok(())
    }

    /// Sets aside what the copies of a request may cost: of all of them or of none, so that every
    /// candidate answers the same requests.
    fn reserve_all(
        &self,
        experiment: &str,
        variants: &[&String],
        request: &Bytes,
    ) -> std::result::Result<Vec<Reserved>, &'static str> {
        let mut all = Vec::new();
        for variant in variants {
            match self.reserve(experiment, variant, request) {
                Ok(reserved) => all.push(reserved),
                Err(reason) => {
                    for reserved in all {
                        self.board.settle(experiment, reserved, Some(0));
                    }
                    return Err(reason);
                }
            }
        }
        Ok(all)
    }

    fn reserve(
        &self,
        experiment: &str,
        variant: &str,
        request: &Bytes,
    ) -> std::result::Result<Reserved, &'static str> {
        let scene = scene::now(&self.scenes);
        let Some((experiment, variant)) = find(&scene.config, experiment, variant) else {
            return Err("variant_gone");
        };
        let most = ledger::most_nano_usd(&scene.config.prices, variant, request);
        let all = scene.config.shadowing.daily_usd;
        let caps = Caps { experiment: experiment.shadow_daily_usd, all };
        let now_ms = jiff::Timestamp::now().as_millisecond();
        self.board.ledger().reserve(&experiment.name, now_ms, most, caps)
    }

    pub(super) fn half(&mut self, id: PairId, half: &Half) -> Result<()> {
        let Some(progress) = self.open.get_mut(&id) else { return Ok(()) };
        if !progress.answered.insert(half.variant.clone()) {
            return Ok(());
        }
        let run = progress.head.experiment.clone();
        self.store.put_half(id, half)?;
        self.dirty = true;
        if half.origin == Origin::Shadow {
            self.board.copied(&run, &half.variant);
        }
        self.queue_whole(id, Some(&half.variant));
        Ok(())
    }

    /// Queues every candidate whose pair became whole, now that `new` has answered.
    fn queue_whole(&mut self, id: PairId, new: Option<&str>) {
        let Some(progress) = self.open.get(&id) else { return };
        let control = progress.head.variants.first();
        if !control.is_some_and(|control| progress.answered.contains(control)) {
            return;
        }
        let is_new =
            |name: &str| new.is_none_or(|new| control.is_some_and(|c| c == new) || name == new);
        let whole = progress.unscored.iter().filter(|name| progress.answered.contains(*name));
        for candidate in whole.filter(|name| is_new(name)) {
            let name = progress.head.experiment.clone();
            if new.is_some() {
                self.board.count(&name, |funnel| funnel.complete(candidate));
                if candidate != AGAIN {
                    self.metrics.step(&name, "whole");
                }
            }
            self.after.push(Effect::Judge((id, name, candidate.clone())));
        }
    }

    /// Without control's half nothing comes of any pair of a request; without a candidate's only
    /// its own is lost. A prompt of which nothing came may make pairs later.
    pub(super) fn no_half(
        &mut self,
        id: PairId,
        variant: &str,
        reason: &'static str,
    ) -> Result<()> {
        let Some(progress) = self.open.get_mut(&id) else { return Ok(()) };
        let is_control = progress.head.variants.first().is_some_and(|control| control == variant);
        let lost: Vec<String> = match is_control {
            true => progress.unscored.drain().collect(),
            false => progress.unscored.take(variant).into_iter().collect(),
        };
        if lost.is_empty() {
            return Ok(());
        }
        progress.head.variants.retain(|name| !lost.contains(name));
        let (experiment, at_ms) = (progress.head.experiment.clone(), progress.head.created_ms);
        let (is_over, has_score) = (progress.unscored.is_empty(), progress.has_score);
        let head = progress.head.clone();
        for name in &lost {
            self.board.count(&experiment, |funnel| funnel.lose(name, reason, at_ms));
            if name != AGAIN {
                self.metrics.step(&experiment, "lost");
            }
        }
        self.dirty = true;
        if !is_over {
            return self.store.narrow_pair(id, &head);
        }
        self.open.remove(&id);
        if has_score {
            return self.store.close_pair(id);
        }
        self.known.remove(&id);
        self.store.forget_pair(id)
    }

    fn lose(&self, intent: &Intent, variant: &str, reason: &str) {
        let head = &intent.head;
        self.board.count(&head.experiment, |funnel| funnel.lose(variant, reason, head.created_ms));
        if variant != AGAIN {
            self.metrics.step(&head.experiment, "lost");
        }
    }

    pub(super) fn scored(&mut self, id: PairId, candidate: String, scored: Scored) -> Result<()> {
        let Some(progress) = self.open.get_mut(&id) else { return Ok(()) };
        if !progress.unscored.remove(&candidate) {
            return Ok(());
        }
        progress.has_score = true;
        let experiment = progress.head.experiment.clone();
        let is_done = progress.unscored.is_empty();
        self.dirty = true;
        if self.store.put_score(&experiment, &candidate, id, &scored)? {
            let label = self.store.label(&experiment, &candidate, id).map(|label| label.score);
            self.after.push(Effect::Score { experiment, candidate, scored, label });
        }
        if is_done {
            self.open.remove(&id);
            self.store.close_pair(id)?;
        }
        Ok(())
    }
}

/// An experiment and one of its variants, which control is when it is asked again.
pub fn find<'c>(
    config: &'c Config,
    experiment: &str,
    variant: &str,
) -> Option<(&'c Experiment, &'c Variant)> {
    let experiment = config.experiments.iter().find(|e| e.run() == experiment)?;
    let variant = match variant {
        AGAIN => &experiment.control,
        name => experiment.variant(name)?,
    };
    Some((experiment, variant))
}
