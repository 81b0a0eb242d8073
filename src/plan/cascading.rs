//! Whether a request's answer is checked before it goes out, and by what.

use std::sync::Arc;

use http::HeaderMap;

use crate::cacheable;
use crate::cacheable::Question;
use crate::cascade::Cascade;
use crate::experiment::Target;
use crate::plan::Sought;

/// What a route's cascade makes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Cascading<'c> {
    /// The answers of all targets but the last are checked by it.
    Checked(&'c Arc<Cascade>),
    /// Only the last target is asked, whose answer needs no check, for this reason.
    Straight(&'static str),
}

impl<'c> Cascading<'c> {
    /// Of a request that is on its way to `targets`; nothing where its route has no cascade, or
    /// nobody to escalate to.
    ///
    /// What acts at its provider must not be done twice, and of what cannot be read nobody can say
    /// whether its answer will do.
    pub fn of(sought: &Sought<'c, '_>, targets: &[Target]) -> Option<Self> {
        let route = sought.config.routes.get(&sought.request.model)?;
        let cascade = route.cascade.as_ref()?;
        if targets.len() < 2 || sought.dialect.name().is_embedding() {
            return None;
        }
        let Some(request) = sought.reading.request.as_deref() else {
            return Some(Self::Straight("unread"));
        };
        // A key against repetition holds at one provider, and here another may be asked as well.
        let acts = cacheable::acts(&Question { request, targets }, &HeaderMap::new());
        Some(acts.map_or(Self::Checked(cascade), |class| Self::Straight(class.name)))
    }
}
