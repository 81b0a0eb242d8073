//! Who can read the history of a request, when a provider has signed or kept a part of it.

use crate::chat::DialectName;
use crate::chat::Maker;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::config::Config;
use crate::experiment::Experiment;
use crate::experiment::Target;
use crate::experiment::Variant;
use crate::wire::conversation;

/// The history was kept by a provider, and it is known by whom.
const KEPT: &str = "previous_response";
/// The history was kept by a provider, and it is not known by whom.
const KEPT_SOMEWHERE: &str = "unknown_response";
/// The history holds what only its maker can read.
const SIGNED: &str = "signed_history";

/// What is remembered of a response that a conversation may go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// What names the conversation it belongs to, if an experiment wanted to know.
    pub conversation: Option<String>,
    /// The experiment the request took part in, and the variant that answered.
    pub served: Option<(String, String)>,
    /// Whose provider has it.
    pub target: Target,
}

impl Thread {
    /// The same when `target` has answered, perhaps for the variant's own.
    pub fn given_by(&self, target: &Target) -> Self {
        let served = self.served.clone().filter(|_| self.target == *target);
        Self { served, target: target.clone(), conversation: self.conversation.clone() }
    }
}

/// The history of a request, as far as it says who can go on.
pub struct History<'a> {
    /// All of it; `None` where only the provider can tell what it means.
    pub request: Option<&'a Request>,
    /// The response it goes on from.
    pub previous: Option<&'a str>,
    /// What is remembered of that one.
    pub thread: Option<&'a Thread>,
}

/// The variant to ask, and why it is not the assigned one.
///
/// A request is moved only when the assigned variant's provider cannot read the history and that of
/// another variant can. No request goes to a candidate that was halted.
pub fn served<'e>(
    config: &Config,
    experiment: &'e Experiment,
    assigned: &'e Variant,
    history: &History<'_>,
) -> (&'e Variant, Option<&'static str>) {
    let (wanted, reason) = match (history.previous, history.thread) {
        (Some(_), Some(thread)) => (of_thread(experiment, assigned, thread), KEPT),
        (Some(_), None) => (of_unknown(config, experiment, assigned, history), KEPT_SOMEWHERE),
        (None, _) => match history.request {
            None => return (assigned, None),
            Some(request) => match of_kept(config, experiment, assigned, request) {
                Some(control) => (Some(control), KEPT_SOMEWHERE),
                None => (of_sealed(config, experiment, assigned, request), SIGNED),
            },
        },
    };
    match wanted {
        Some(wanted) if wanted.name != assigned.name => (wanted, Some(reason)),
        _ => (assigned, None),
    }
}

/// The variant that gave the response, else one whose provider has it.
fn of_thread<'e>(
    experiment: &'e Experiment,
    assigned: &'e Variant,
    thread: &Thread,
) -> Option<&'e Variant> {
    let served = thread.served.as_ref().filter(|(name, _)| *name == experiment.name);
    let has_it = |variant: &&Variant| variant.target.provider == thread.target.provider;
    let same = active(experiment).find(|variant| {
        served.is_some_and(|(_, served)| *served == variant.name) && has_it(variant)
    });
    same.or_else(|| Some(assigned).filter(has_it)).or_else(|| active(experiment).find(has_it))
}

/// Nobody here has seen the response. If the application names the conversation, every pod assigns
/// the same variant, which will have answered before; otherwise the incumbent's provider most
/// likely has it.
fn of_unknown<'e>(
    config: &Config,
    experiment: &'e Experiment,
    assigned: &'e Variant,
    history: &History<'_>,
) -> Option<&'e Variant> {
    let is_named = history.request.is_some_and(|request| conversation::name(request).is_some());
    let may_have_it = is_named && speaks(config, &assigned.target, DialectName::Responses);
    (!may_have_it).then(|| control(experiment, assigned))
}

/// A conversation that a provider keeps is the incumbent's; pieces that the history only names are
/// the assigned variant's, if its provider keeps any.
fn of_kept<'e>(
    config: &Config,
    experiment: &'e Experiment,
    assigned: &'e Variant,
    request: &Request,
) -> Option<&'e Variant> {
    let is_kept = request.dialect == DialectName::Responses
        && request.rest.get("conversation").is_some_and(|kept| !kept.is_null());
    let is_named = conversation::refers(request);
    let may_have_it = !is_kept && speaks(config, &assigned.target, DialectName::Responses);
    ((is_kept || is_named) && !may_have_it).then(|| control(experiment, assigned))
}

/// Control, unless the assigned variant's provider is control's own, which reads the same.
fn control<'e>(experiment: &'e Experiment, assigned: &'e Variant) -> &'e Variant {
    let control = &experiment.control;
    if assigned.target.provider == control.target.provider { assigned } else { control }
}

/// What was sealed last counts: providers look at the turn that goes on.
fn of_sealed<'e>(
    config: &Config,
    experiment: &'e Experiment,
    assigned: &'e Variant,
    request: &Request,
) -> Option<&'e Variant> {
    let by = sealed_by(request)?;
    let reads = |variant: &&Variant| reads(config, &variant.target, by);
    Some(assigned).filter(reads).or_else(|| active(experiment).find(reads))
}

/// Control first, then the candidates that nobody has halted.
fn active(experiment: &Experiment) -> impl Iterator<Item = &Variant> {
    let candidates = experiment.candidates.iter().filter(|found| !experiment.is_halted(found));
    std::iter::once(&experiment.control).chain(candidates.map(|found| &found.variant))
}

/// Whose seal stands last in the history, whatever dialect carries it.
fn sealed_by(request: &Request) -> Option<Maker> {
    let parts = request.messages.iter().rev().flat_map(|message| message.parts.iter().rev());
    parts.into_iter().find_map(|part| match &part.kind {
        PartKind::Reasoning { seal: Some(seal), .. }
        | PartKind::ToolCall { seal: Some(seal), .. }
        | PartKind::Hidden(seal) => Some(seal.by),
        _ => None,
    })
}

fn reads(config: &Config, target: &Target, by: Maker) -> bool {
    match by {
        Maker::Anthropic => {
            let is_claude = || target.model.contains("claude");
            speaks(config, target, DialectName::Anthropic)
                || (speaks(config, target, DialectName::Converse) && is_claude())
        }
        Maker::Gemini => speaks(config, target, DialectName::Gemini),
        Maker::OpenAi => speaks(config, target, DialectName::Responses),
    }
}

fn speaks(config: &Config, target: &Target, dialect: DialectName) -> bool {
    let provider = config.providers.get(&target.provider);
    provider.is_some_and(|provider| provider.dialects.contains(&dialect))
}
