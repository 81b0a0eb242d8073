//! Feeds a rehearsal pair by pair, looks at the verdict at fixed numbers of pairs, and stops before
//! the money is spent.
//!
//! The looks come after the same pairs whatever is fast or slow and however often the run was
//! killed, so the run ends after the same pairs, too, and its result is the same to the last digit.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::pair::PairId;
use crate::rehearsal::Ask;
use crate::rehearsal::Rehearsal;
use crate::rehearsal::cost::Most;
use crate::report::Report;
use crate::stats::Verdict;

/// The first looks are so many pairs apart; later ones a quarter of all pairs so far.
const FIRST_LOOKS: usize = 50;

/// Pairs promised between two flushes.
const BATCH: usize = 64;

/// Between two looks at what is open.
const LOOK: Duration = Duration::from_millis(25);

/// Between two times that progress is told.
const TELL: Duration = Duration::from_millis(200);

/// A run in which nothing is settled for so long has nobody left who answers.
const STALL: Duration = Duration::from_secs(30 * 60);

/// After so many pairs of which none came whole, no more are tried.
const HOPELESS: usize = 20;

/// What there is to rehearse, in a fixed order.
pub trait Repertoire {
    /// Every pair.
    fn ids(&self) -> &[PairId];

    /// What to ask for one of them.
    ///
    /// # Errors
    /// It cannot be read any more.
    fn ask(&mut self, at: usize) -> Result<Ask>;
}

/// A few pairs, in memory.
impl Repertoire for (Vec<PairId>, Vec<Ask>) {
    fn ids(&self) -> &[PairId] {
        &self.0
    }

    fn ask(&mut self, at: usize) -> Result<Ask> {
        let ask = self.1.get(at).cloned();
        ask.ok_or_else(|| Error::new(Kind::Internal, "a pair beyond the last one is asked for"))
    }
}

/// Until when a run goes on.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The most that copies and judge may cost together, dollars, former runs of it included.
    pub max_usd: Option<f64>,
    /// The most that the judge may cost, dollars.
    pub judge_usd: Option<f64>,
    /// Go on when the verdict is there.
    pub all: bool,
    /// Ends the run before its time.
    pub stop: CancellationToken,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every pair is settled.
    Complete,
    /// The verdict is there.
    Decided,
    /// One more pair might have cost more than is allowed.
    Spent,
    /// Somebody stopped it.
    Stopped,
}

/// How far a run is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Pairs settled: scored, not to be judged, or lost.
    pub settled: usize,
    /// Of those, the ones that were settled before this process began.
    pub before: usize,
    /// All there are.
    pub total: usize,
    /// Spent by copies and judge so far, dollars.
    pub spent_usd: f64,
    /// What was found so far.
    pub report: Report,
}

/// A run under way.
struct Run<'r> {
    rehearsal: &'r mut Rehearsal,
    terms: &'r Terms,
    open: HashMap<PairId, Most>,
    at: usize,
    before: usize,
    moved: Instant,
    told: Option<Instant>,
}

impl Rehearsal {
    /// Makes every pair of a repertoire that is not there yet, and has them judged.
    ///
    /// # Errors
    /// The repertoire or the store cannot be read, nobody answers, or a price is unknown where a
    /// limit is to hold.
    pub async fn perform(
        &mut self,
        repertoire: &mut (dyn Repertoire + Send),
        terms: &Terms,
        tell: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<End> {
        let ids = repertoire.ids().to_vec();
        // Up to there the verdict was looked at before, and it was open.
        let furthest = ids.iter().rposition(|id| self.has(*id)).map_or(0, |at| at + 1);
        let mut open = HashMap::new();
        let mut before = 0;
        for id in ids.iter().filter(|id| self.has(**id)) {
            match self.store.is_open(*id)? {
                true => drop(open.insert(*id, Most::default())),
                false => before += 1,
            }
        }
        let moved = Instant::now();
        let mut run = Run { rehearsal: self, terms, open, at: 0, before, moved, told: None };
        while run.at < ids.len() {
            let until = next_look(run.at).min(ids.len());
            if let Some(end) = run.wave(repertoire, &ids, until, tell).await? {
                run.finish(end, ids.len(), tell).await?;
                return Ok(end);
            }
            let is_due = run.at >= furthest && run.at < ids.len() && !terms.all;
            if is_due && run.rehearsal.report()?.verdict != Verdict::KeepRunning {
                run.finish(End::Decided, ids.len(), tell).await?;
                return Ok(End::Decided);
            }
        }
        run.finish(End::Complete, ids.len(), tell).await?;
        Ok(End::Complete)
    }
}

impl Run<'_> {
    /// Makes the pairs up to `until` and waits until all of them are settled.
    async fn wave(
        &mut self,
        repertoire: &mut (dyn Repertoire + Send),
        ids: &[PairId],
        until: usize,
        tell: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Option<End>> {
        let mut next: Option<Ask> = None;
        loop {
            let (was_idle, began_at) = (self.open.is_empty(), self.at);
            let fed = self.feed(repertoire, ids, until, &mut next).await?;
            self.settle()?;
            self.tell(ids.len(), tell)?;
            if self.open.is_empty() {
                match (fed, self.at >= until) {
                    // With nothing under way, nothing of what is set aside will come back; a pair that
                    // was promised just now may be settled already, and its part is back.
                    (Fed::Spent, _) if was_idle && self.at == began_at => {
                        return Ok(Some(End::Spent));
                    }
                    (Fed::All, true) => {
                        self.rehearsal.flush().await;
                        return Ok(None);
                    }
                    _ => {
                        // What was settled last is to be counted before money is counted again.
                        self.rehearsal.flush().await;
                        continue;
                    }
                }
            }
            tokio::select! {
                () = self.terms.stop.cancelled() => return Ok(Some(End::Stopped)),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Promises as many pairs as there is room and money for.
    async fn feed(
        &mut self,
        repertoire: &mut (dyn Repertoire + Send),
        ids: &[PairId],
        until: usize,
        next: &mut Option<Ask>,
    ) -> Result<Fed> {
        let (mut promised, mut fed) = (0, Fed::All);
        let mut purse = None;
        let is_limited = self.terms.max_usd.is_some() || self.terms.judge_usd.is_some();
        if is_limited && self.at < until && self.open.len() < self.rehearsal.places {
            // A pair that is settled may not be counted yet, and its judge is no longer waited for.
            self.rehearsal.flush().await;
        }
        while let Some(id) = ids.get(self.at).filter(|_| self.at < until) {
            if self.rehearsal.has(*id) {
                self.at += 1;
                continue;
            }
            if self.open.len() >= self.rehearsal.places || promised >= BATCH {
                break;
            }
            let ask = match next.take() {
                Some(ask) => ask,
                None => repertoire.ask(self.at)?,
            };
            let Some(most) = self.affordable(&ask, &mut purse)? else {
                *next = Some(ask);
                fed = Fed::Spent;
                break;
            };
            self.open.insert(ask.id, most);
            self.rehearsal.promise(ask).await;
            self.at += 1;
            promised += 1;
        }
        if promised > 0 {
            // Until then nobody can tell a pair that is not open yet from one that is settled.
            self.rehearsal.flush().await;
        }
        Ok(fed)
    }

    /// The most that a pair may cost, unless that is more than what is left; `purse` holds what
    /// was spent and set aside when the feeding began, and what was promised since.
    fn affordable(&self, ask: &Ask, purse: &mut Option<Most>) -> Result<Option<Most>> {
        let Terms { max_usd, judge_usd, .. } = *self.terms;
        if max_usd.is_none() && judge_usd.is_none() {
            return Ok(Some(Most::default()));
        }
        let most = {
            let (experiment, prices) = (&self.rehearsal.experiment, &self.rehearsal.prices);
            Most::of(experiment, prices, ask, max_usd.is_some())?
        };
        let before = match *purse {
            Some(purse) => purse,
            None => {
                // What open copies may cost is set aside in the ledger; for the judge nothing is.
                let (copies, judge) = self.rehearsal.spent()?;
                let waiting: u64 = self.open.values().map(|most| most.judge).sum();
                Most { copies, judge: judge.saturating_add(waiting) }
            }
        };
        let after = before.and(most);
        let fits = |nano: u64, usd: Option<f64>| usd.is_none_or(|usd| nano as f64 / 1e9 <= usd);
        let is_affordable = fits(after.total(), max_usd) && fits(after.judge, judge_usd);
        *purse = Some(if is_affordable { after } else { before });
        Ok(is_affordable.then_some(most))
    }

    fn settle(&mut self) -> Result<()> {
        let was = self.open.len();
        let mut still = HashMap::new();
        for (id, most) in self.open.drain() {
            if self.rehearsal.store.is_open(id)? {
                still.insert(id, most);
            }
        }
        self.open = still;
        if self.open.len() != was {
            self.moved = Instant::now();
        }
        Ok(())
    }

    /// # Errors
    /// Nobody answers, and nobody will.
    fn check_life(&self, report: &Report) -> Result<()> {
        let lost: u64 = report.funnel.lost.values().sum();
        let has_hope = report.funnel.whole > 0 || lost < HOPELESS as u64;
        if has_hope && self.moved.elapsed() < STALL {
            return Ok(());
        }
        let reasons: Vec<String> =
            report.funnel.lost.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        let what = match reasons.is_empty() {
            true => "the judge or the providers do not answer".to_owned(),
            false => format!("no pair comes about: {}", reasons.join(", ")),
        };
        Err(Error::new(Kind::Broken, format!("{what}; what is there is kept")))
    }

    fn tell(&mut self, total: usize, tell: &mut (dyn FnMut(&Progress) + Send)) -> Result<()> {
        if self.told.is_some_and(|told| told.elapsed() < TELL) {
            return Ok(());
        }
        self.told = Some(Instant::now());
        let report = self.rehearsal.report()?;
        self.check_life(&report)?;
        let (copies, judge) = self.rehearsal.spent()?;
        let begun = self.at.max(self.before);
        tell(&Progress {
            settled: begun.saturating_sub(self.open.len()).min(total),
            before: self.before,
            total,
            spent_usd: copies.saturating_add(judge) as f64 / 1e9,
            report,
        });
        Ok(())
    }

    async fn finish(
        &mut self,
        end: End,
        total: usize,
        tell: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<()> {
        self.rehearsal.flush().await;
        if end == End::Complete {
            self.at = total;
        }
        self.told = None;
        self.tell(total, tell)
    }
}

/// What came of feeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fed {
    All,
    Spent,
}

impl Rehearsal {
    /// What copies and judge have cost, billionths of a dollar.
    ///
    /// # Errors
    /// The board does not know the experiment.
    pub fn spent(&self) -> Result<(u64, u64)> {
        let copies = self.board.ledger().total(&self.experiment.name);
        let judge = self.report()?.cost_usd.unwrap_or(0.0);
        Ok((copies, (judge * 1e9).round() as u64))
    }
}

/// The next number of pairs at which the verdict is looked at.
fn next_look(pairs: usize) -> usize {
    let step = (pairs / 4).max(FIRST_LOOKS);
    pairs + step
}
