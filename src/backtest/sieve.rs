//! Which recorded requests an experiment takes, why it does not take the others, and which recorded
//! answer is control's.

use http::HeaderMap;

use crate::backtest::line::Asked;
use crate::backtest::line::Line;
use crate::chat::DialectName;
use crate::config::Config;
use crate::experiment::Experiment;
use crate::experiment::Match;
use crate::experiment::Share;
use crate::experiment::Standing;
use crate::experiment::Target;
use crate::experiment::assign::Asking;
use crate::experiment::assign::Body;
use crate::experiment::assign::position;
use crate::exposure::unit_number;
use crate::pair::Half;
use crate::pair::Intent;
use crate::pair::IntentHead;
use crate::pair::Origin;
use crate::pair::PairId;
use crate::plan;
use crate::plan::Caller;
use crate::plan::Plan;
use crate::tally::AGAIN;

/// Why a request makes no pair, with what it means; a request of several reasons has the first.
pub const REASONS: &[(&str, &str)] = &[
    ("duplicate", "the same prompt is there before: one prompt makes one pair"),
    ("field", "a field that `match.fields` wants is missing or another"),
    ("header", "`match.headers` wants a header that is not recorded: give it with --header"),
    ("not_chat", "it asks for no words that could be compared"),
    ("pinned", "only the variant that gave its history can go on from it"),
    ("route", "it asked for another route or model"),
    ("tenant", "`match.tenants` cannot be told from what is recorded"),
    ("unknown_model", "it asks for a model that no provider or route answers to"),
    ("unreadable", "its body cannot be read"),
];

/// An experiment's conditions, as far as a record can meet them.
#[derive(Clone, Debug)]
pub struct Sieve {
    /// The experiment alone, without the conditions that a record cannot meet.
    config: Config,
    /// As it is defined.
    experiment: Experiment,
    /// What every request is taken to have been sent with.
    headers: HeaderMap,
    /// When pairs are promised, Unix milliseconds.
    now_ms: i64,
}

/// A request that makes a pair.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Which pair.
    pub id: PairId,
    /// What to ask.
    pub intent: Intent,
    /// Requests of one kind are alike in route, tools and length.
    pub kind: String,
}

impl Sieve {
    /// For an experiment of a configuration.
    pub fn new(config: &Config, experiment: &Experiment, headers: HeaderMap, now_ms: i64) -> Self {
        Self { config: alone(config, experiment), experiment: experiment.clone(), headers, now_ms }
    }

    /// What the rehearsal runs on.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The experiment as it is defined.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The pair that a request makes.
    ///
    /// # Errors
    /// It makes none; the word is in [`REASONS`].
    pub fn take(&self, asked: &Asked) -> Result<Taken, &'static str> {
        let dialect = asked.dialect.dialect();
        if matches!(asked.dialect, DialectName::Embeddings | DialectName::GeminiEmbeddings) {
            return Err("not_chat");
        }
        let request = dialect.read_head(asked.body.clone(), asked.in_path.clone());
        let request = request.map_err(|_| "unreadable")?;
        let caller = Caller {
            provider: asked.provider.as_deref(),
            query: asked.query.as_deref(),
            ..Caller::new(&self.headers)
        };
        let plan = plan::plan(&self.config, dialect, &request, &caller);
        let plan = plan.map_err(|error| match error.kind {
            crate::error::Kind::NotFound => "unknown_model",
            _ => "unreadable",
        })?;
        let first = plan.targets.first().ok_or("unknown_model")?;
        let asking = Asking {
            model: &request.model,
            target: first,
            headers: &self.headers,
            tenant: &plan.tenant.0,
            body: Body::new(&request.body),
        };
        let Some((experiment, _)) = plan.enrolled else {
            let route = self.experiment.matches.route.clone();
            let is_there = Match { route, ..Match::default() }.accepts(&asking);
            return Err(if is_there { "field" } else { "route" });
        };
        // Whoever took part then had all that is wanted.
        if !self.took_part(asked) {
            self.check_beside(&asking)?;
        }
        if plan.pinned.is_some() {
            return Err("pinned");
        }
        let id = PairId::of(&experiment.run(), &plan.prompt, &plan.tenant);
        let kind = kind(&plan, &request.model, request.body.len());
        let head = self.head(asked, &plan, experiment, id, request.model.clone());
        Ok(Taken { id, intent: Intent { head, request: asked.body.clone() }, kind })
    }

    fn took_part(&self, asked: &Asked) -> bool {
        let assigned = asked.assigned.as_deref().and_then(|assigned| assigned.split_once('='));
        assigned.is_some_and(|(name, _)| name == self.experiment.name)
    }

    fn check_beside(&self, asking: &Asking<'_>) -> Result<(), &'static str> {
        let Match { headers, tenants, .. } = &self.experiment.matches;
        let sent = Match { headers: headers.clone(), ..Match::default() };
        match () {
            () if !sent.accepts(asking) => Err("header"),
            () if !tenants.is_empty() => Err("tenant"),
            () => Ok(()),
        }
    }

    fn head(
        &self,
        asked: &Asked,
        plan: &Plan<'_>,
        experiment: &Experiment,
        id: PairId,
        route: String,
    ) -> IntentHead {
        let names = experiment.variants().map(|variant| variant.name.clone());
        let mut variants: Vec<String> = names.collect();
        if position(AGAIN, &experiment.salt, &id.0) < experiment.again.ppm() {
            variants.push(AGAIN.to_owned());
        }
        IntentHead {
            experiment: experiment.run().into_owned(),
            dialect: plan.dialect.as_str().to_owned(),
            in_path: asked.in_path.clone().map(|path| (path.model, path.stream)),
            variants,
            request_id: asked.request_id.clone(),
            created_ms: self.now_ms,
            unit: plan.unit.as_deref().map(|unit| unit_number(&experiment.name, unit)),
            route,
            tenant: plan.tenant.short(),
            headers: experiment.evaluate.sent(&self.headers),
            is_redacted: false,
        }
    }

    /// Whether a recorded answer is one that control gave to the request as it would be asked now.
    pub fn is_controls(&self, question: &Line, answer: &Line) -> bool {
        let control = &self.experiment.control;
        match (question, answer) {
            (Line::Exchange(exchange), _) => {
                let assigned = exchange.head.assigned.as_deref();
                let is_own = assigned.is_some_and(|assigned| {
                    assigned == format!("{}={}", self.experiment.name, control.name)
                });
                // What was redacted is not what was answered, and whoever was assigned elsewhere may
                // have been asked something else.
                exchange.head.redacted.is_empty()
                    && exchange.head.target == control.target.to_string()
                    && (is_own || (assigned.is_none() && control.is_plain()))
            }
            (Line::Batch(_), Line::Batch(batch)) => {
                let given = batch.given.as_ref().filter(|given| given.status == 200);
                let model = given.and_then(|given| model_of(&given.body));
                let is_own = given.is_some() && is_model_of(model.as_deref(), &control.target);
                is_own && control.is_plain()
            }
            (Line::Batch(_), Line::Exchange(_)) => false,
        }
    }

    /// Control's half, from the line that asks or from the one that answers it.
    pub fn half(&self, question: &Line, answer: Option<&Line>) -> Option<Half> {
        let line = answer.unwrap_or(question);
        if !self.is_controls(question, line) {
            return None;
        }
        let dialect = question.asked().ok()?.dialect;
        let (first_us, took_us) = match line {
            Line::Exchange(exchange) => (exchange.head.first_us, exchange.head.took_us),
            Line::Batch(_) => (0, 0),
        };
        let control = &self.experiment.control;
        Some(Half {
            variant: control.name.clone(),
            target: control.target.to_string(),
            origin: Origin::Recorded,
            answer: line.answer(dialect)?,
            first_us,
            took_us,
        })
    }
}

/// A configuration in which the one experiment takes every request that it can: what deals users
/// out says nothing of records, and no user meets anything.
fn alone(config: &Config, experiment: &Experiment) -> Config {
    let mut only = experiment.clone();
    only.standing = Standing::default();
    only.layer = None;
    only.matches.share = Share::ALL;
    only.matches.headers.clear();
    only.matches.tenants.clear();
    only.shadow = Share::ALL;
    only.shadow_daily_usd = None;
    only.evaluate.budget_usd = None;
    only.evaluate.daily_usd = None;
    only.ramp.clear();
    only.guardrails.clear();
    only.candidates.iter_mut().for_each(|candidate| candidate.split = Share::NONE);
    let mut config = Config { experiments: vec![only], ..config.clone() };
    config.holdout = Share::NONE;
    config.shadowing.daily_usd = None;
    config
}

/// Alike in route, tools and length, of which each step is four times the one before.
fn kind(plan: &Plan<'_>, route: &str, bytes: usize) -> String {
    let has_tools = plan.request.as_ref().is_some_and(|request| !request.tools.is_empty());
    format!("{route} {has_tools} {}", bytes.max(1).ilog2() / 2)
}

fn model_of(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        model: Option<String>,
    }
    serde_json::from_slice::<Named>(body).ok()?.model
}

/// Whether an answer that names this model, or none, may be the target's: providers name the dated
/// version of what was asked for.
fn is_model_of(model: Option<&str>, target: &Target) -> bool {
    let Some(model) = model else { return true };
    let own = target.model.rsplit_once('/').map_or(target.model.as_str(), |(_, name)| name);
    let model = model.rsplit_once('/').map_or(model, |(_, name)| name);
    let rest = model.strip_prefix(own).or_else(|| own.strip_prefix(model));
    rest.is_some_and(|rest| {
        let date = rest.strip_prefix(['-', '@']);
        rest.is_empty() || date.is_some_and(|date| date.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::is_model_of;
    use crate::experiment::Target;

    #[test]
    fn a_dated_name_is_the_same_model_and_a_longer_one_is_another() {
        let target = Target::parse("openai/gpt-4o").unwrap();
        for (model, is_own) in [
            (None, true),
            (Some("gpt-4o"), true),
            (Some("gpt-4o-2024-08-06"), true),
            (Some("openai/gpt-4o"), true),
            (Some("gpt-4o-mini"), false),
            (Some("gpt-4o-mini-2024-07-18"), false),
            (Some("gpt-4"), false),
        ] {
            assert_eq!(is_model_of(model, &target), is_own, "{model:?}");
        }
    }
}
