//! Tells the recorder which unit met which variant, whoever paid for the answer.

use http::HeaderMap;

use crate::exchange::Front;
use crate::exchange::Incoming;
use crate::experiment::Experiment;
use crate::exposure;
use crate::exposure::Exposure;
use crate::exposure::Origin;
use crate::plan::Plan;
use crate::recorder::Record;

impl Front {
    /// A unit met its variant; costs a request of no experiment nothing.
    pub(super) fn expose(
        &self,
        plan: &Plan<'_>,
        incoming: &Incoming,
        origin: Origin,
        target: Option<&str>,
    ) {
        let Some((experiment, variant)) = plan.enrolled else { return };
        let served = target.map(|target| match variant.target.to_string() == target {
            true => variant.name.clone(),
            false => name_of(experiment, target),
        });
        let unit = plan.unit.as_deref().unwrap_or_default();
        let exposure = Exposure {
            experiment: experiment.run().into_owned(),
            epoch: experiment.standing.epoch,
            unit: exposure::digest(&experiment.name, unit),
            request_id: incoming.request_id.clone(),
            assigned: variant.name.clone(),
            served,
            origin,
            split: experiment.candidates.iter().map(|c| experiment.split(c).ppm()).collect(),
            at_ms: incoming.arrived_ms,
        };
        self.recorder.record(Record::Exposure(Box::new(exposure)));
    }
}

/// Who gave an answer, as its headers say.
pub(super) fn target_in(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-understudy-target")?.to_str().ok()
}

/// The variant that a target is, or the target itself.
fn name_of(experiment: &Experiment, target: &str) -> String {
    let mut variants = experiment.variants();
    let variant = variants.find(|variant| variant.target.to_string() == target);
    variant.map_or_else(|| target.to_owned(), |variant| variant.name.clone())
}
