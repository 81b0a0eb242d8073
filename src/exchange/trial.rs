//! A live answer as a sample of the variant that its request was assigned.
//!
//! Only calls made for the request itself count: what the cache or another's call answers says
//! nothing of how long a variant takes or what it costs, and would say the rest twice.

use std::sync::Arc;
use std::time::Duration;

use crate::chat::request::Request;
use crate::exchange::Front;
use crate::exchange::ending::Ending;
use crate::experiment::Target;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::upstream::ended::Account;
use crate::upstream::ended::Ended;
use crate::vital::Sample;
use crate::vital::Served;

/// Fields of a request that say of what shape an answer is to be or what it may call.
const SHAPES: [&str; 7] = [
    "generationConfig",
    "output_config",
    "response_format",
    "text",
    "toolConfig",
    "tool_choice",
    "tools",
];

/// What an answer has to be to be a sample.
#[derive(Clone, Debug)]
pub struct Trial {
    run: String,
    variant: String,
    target: Target,
    /// As the variant asks it; `None` if that is not known.
    request: Option<Arc<Request>>,
}

impl Trial {
    /// The trial of a request that is asked of the variant it was assigned.
    pub fn of(plan: &Plan<'_>) -> Option<Self> {
        let (experiment, variant) = plan.enrolled?;
        let is_own = plan.served.is_some_and(|served| served.name == variant.name);
        if !is_own || !experiment.is_running() {
            return None;
        }
        let request = plan.request.clone().filter(|_| {
            // What a patch makes of these is in words of the target's dialect.
            !variant.patch.keys().any(|field| SHAPES.contains(&field.as_str()))
        });
        let request = request.map(|request| match &variant.tools {
            Some(tools) => Arc::new(Request { tools: tools.clone(), ..Request::clone(&request) }),
            None => request,
        });
        let (run, name) = (experiment.run().into_owned(), variant.name.clone());
        Some(Self { run, variant: name, target: variant.target.clone(), request })
    }

    /// What an ended answer says; nothing, if the application did not wait for its end.
    pub fn sample(&self, ending: &Ending, account: &Account) -> Option<Served> {
        let took = ending.arrived.elapsed();
        // Whoever answered for the variant says nothing of it but that it failed.
        if ending.target != self.target || ending.status != 200 {
            return Some(self.failure(took));
        }
        match account.ended {
            Ended::ClientLeft | Ended::Stopped | Ended::TooLarge => return None,
            Ended::Unfinished | Ended::Cut(_) => return Some(self.failure(took)),
            Ended::Whole => {}
        }
        let usage = account.answer.usage;
        let model = account.answer.model.as_deref();
        let prices = &ending.front.config.prices;
        let cost = usage.and_then(|usage| prices.cost_of(&self.target, model, &usage));
        let first_us = account.pieces.first().map_or(account.took_us, |piece| piece.at_us);
        let request = self.request.as_deref();
        let sample = Sample::of(request, &account.answer, first_us, account.took_us, cost);
        Some(self.served(sample))
    }

    /// What it says that there is no answer.
    pub fn failure(&self, took: Duration) -> Served {
        self.served(Sample::failure(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)))
    }

    fn served(&self, sample: Sample) -> Served {
        Served { run: self.run.clone(), variant: self.variant.clone(), sample }
    }
}

impl Front {
    /// Hands over what an answer says, without waiting.
    pub(super) fn serve(&self, served: Served) {
        if self.vitals.try_send(served).is_err() {
            Metrics::count(&self.metrics.dropped, "vitals_queue_full");
        }
    }
}
