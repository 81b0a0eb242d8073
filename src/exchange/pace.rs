//! How fast the targets of a route have been of late, for routes that choose by it.

use tokio::time::Instant;

use crate::choice::Pace;
use crate::choice::Paces;
use crate::config::Weighted;
use crate::exchange::Front;

impl Front {
    /// What is known of those who may answer to a model's name; `None` where nobody asks.
    pub(super) fn paces(&self, model: &str) -> Option<Paces<'_>> {
        let route = self.config.routes.get(model).filter(|route| route.choose.wants_pace())?;
        let (health, now) = (self.upstream.health(), Instant::now().into_std());
        let clauses = route.when.iter().flat_map(|clause| &clause.targets);
        let pace = |weighted: &Weighted| {
            let condition = health.condition(&weighted.target, now);
            Pace { took_us: condition.took_us, success: condition.success }
        };
        let all = route.targets.iter().chain(clauses);
        Some(all.map(|weighted| (&weighted.target, pace(weighted))).collect())
    }
}
