//! The experiment that a request takes part in, and as whom.

use std::cell::OnceCell;

use crate::chat::DialectName;
use crate::config::Config;
use crate::experiment::Experiment;
use crate::experiment::Target;
use crate::experiment::Unit;
use crate::experiment::Variant;
use crate::experiment::assign::Asking;
use crate::experiment::assign::Body;
use crate::experiment::assign::Outside;
use crate::key::Reading;
use crate::key::Tenant;
use crate::plan::Caller;
use crate::plan::pin;
use crate::plan::pin::History;
use crate::wire::ChatRequest;
use crate::wire::Dialect;
use crate::wire::conversation;

/// A request that may take part.
pub struct Entrant<'c, 'r> {
    /// The experiments, and who can be asked.
    pub config: &'c Config,
    /// The request's dialect.
    pub dialect: &'r dyn Dialect,
    /// The request.
    pub request: &'r ChatRequest,
    /// Who sent it.
    pub caller: &'r Caller<'r>,
    /// Who would answer it outside experiments.
    pub first: &'r Target,
    /// Whose it is.
    pub tenant: &'r Tenant,
    /// All that was read of it.
    pub reading: &'r Reading,
}

/// What came of looking for an experiment.
#[derive(Default)]
pub struct Enrolment<'c> {
    /// The experiment, and the variant assigned.
    pub enrolled: Option<(&'c Experiment, &'c Variant)>,
    /// The variant that is asked.
    pub served: Option<&'c Variant>,
    /// Why that is not the assigned one.
    pub pinned: Option<&'static str>,
    /// What was randomized.
    pub unit: Option<String>,
    /// What names the conversation, if anybody wanted to know.
    pub conversation: Option<String>,
    /// Experiments whose conditions hold, but not for this unit.
    pub outside: Vec<(&'c Experiment, Outside)>,
}

/// The response that a request goes on from, by the id that its provider knows.
pub fn previous_response<'r>(dialect: &dyn Dialect, reading: &'r Reading) -> Option<&'r str> {
    // No other dialect has one.
    let request = reading.request.as_ref().filter(|_| dialect.name() == DialectName::Responses)?;
    conversation::previous(request)
}

impl<'c> Entrant<'c, '_> {
    /// Of all experiments that take the request the first by name, so that every pod finds the same
    /// one whatever the order of its files.
    pub fn enrol(&self) -> Enrolment<'c> {
        if !self.config.experiments.iter().any(Experiment::is_live) {
            return Enrolment::default();
        }
        let asking = Asking {
            model: &self.request.model,
            target: self.first,
            headers: self.caller.headers,
            tenant: &self.tenant.0,
            body: Body::new(&self.request.body),
        };
        let (conversation, mut outside) = (OnceCell::new(), Vec::new());
        let mut found: Option<(&Experiment, String)> = None;
        for experiment in self.config.experiments.iter().filter(|e| e.is_live()) {
            let is_earlier = found.as_ref().is_none_or(|(found, _)| experiment.name < found.name);
            if !is_earlier || !experiment.matches.accepts(&asking) {
                continue;
            }
            let unit = self.unit(experiment, &asking, &conversation);
            match experiment.excludes(unit.as_bytes(), self.config.holdout) {
                None => found = Some((experiment, unit)),
                Some(why) => outside.push((experiment, why)),
            }
        }
        let conversation = conversation.into_inner();
        let Some((experiment, unit)) = found else {
            return Enrolment { conversation, outside, ..Enrolment::default() };
        };
        let assigned = experiment.assign(unit.as_bytes());
        let (served, pinned) = pin::served(self.config, experiment, assigned, &self.history());
        let enrolled = Some((experiment, assigned));
        Enrolment {
            enrolled,
            served: Some(served),
            pinned,
            unit: Some(unit),
            conversation,
            outside,
        }
    }

    /// The value that stays on its variant; a missing header or field falls back to the
    /// conversation.
    fn unit(
        &self,
        experiment: &Experiment,
        asking: &Asking<'_>,
        conversation: &OnceCell<String>,
    ) -> String {
        let named = match &experiment.unit {
            Unit::Conversation => None,
            Unit::Header(name) => {
                let value = self.caller.headers.get(name);
                value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            }
            Unit::Field(pointer) => asking
                .body
                .at(pointer)
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        };
        named.unwrap_or_else(|| conversation.get_or_init(|| self.conversation()).clone())
    }

    /// That of the response it goes on from, if that is remembered, else its own.
    fn conversation(&self) -> String {
        let remembered = self.caller.thread.and_then(|thread| thread.conversation.clone());
        remembered.unwrap_or_else(|| match &self.reading.request {
            Some(request) => conversation::of(request, &self.request.body),
            None => conversation::of_unread(&self.request.body),
        })
    }

    fn history(&self) -> History<'_> {
        History {
            request: self.reading.request.as_deref(),
            previous: previous_response(self.dialect, self.reading),
            thread: self.caller.thread,
        }
    }
}
