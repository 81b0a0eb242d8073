//! What the cache may do for a request: the configured mode, narrowed by what the request is and says.

use http::HeaderMap;

use crate::cacheable;
use crate::cacheable::Question;
use crate::cacheable::directive;
use crate::cacheable::directive::Directives;
use crate::chat::request::Request;
use crate::config::CacheMode;
use crate::config::CachePolicy;
use crate::experiment::Target;
use crate::plan::CacheRules;
use crate::wire::ChatRequest;
use crate::wire::Dialect;

/// The class of the request that the cache may not serve, if there is one.
pub fn refused(
    policy: &CachePolicy,
    (dialect, head): (&dyn Dialect, &ChatRequest),
    request: Option<&Request>,
    targets: &[Target],
) -> Option<&'static str> {
    let unread;
    let request = match request {
        Some(request) => request,
        None => {
            unread = cacheable::unread(dialect.name(), &head.body);
            &unread
        }
    };
    let question = Question { request, targets };
    policy.cacheable.refusal(&question).map(|class| class.name)
}

/// The configured mode, narrowed by what the request is and says.
pub fn cache_rules(
    policy: CachePolicy,
    not_served: Option<&'static str>,
    headers: &HeaderMap,
) -> CacheRules {
    let (read, write, only_if_cached) = match policy.mode {
        CacheMode::On => (true, true, false),
        CacheMode::Off => (false, false, false),
        CacheMode::Record => (false, true, false),
        CacheMode::Replay => (true, false, true),
    };
    let is_replay = policy.mode == CacheMode::Replay;
    // Nobody is called in replay mode, so there is nothing that a request could want afresh.
    let said = if is_replay { Directives::default() } else { directive::read(headers) };
    let read = read && !said.no_cache && not_served.is_none();
    let write = write && !said.no_store;
    let samples = said.samples.unwrap_or(policy.samples);
    CacheRules {
        read,
        write,
        only_if_cached: only_if_cached || said.only_if_cached,
        max_age: said.max_age,
        min_fresh: said.min_fresh,
        any_age: is_replay,
        not_served,
        // What is configured is also how long answers stay on disk, so nobody can ask for more.
        ttl: said.ttl.map_or(policy.ttl, |ttl| ttl.min(policy.ttl)),
        error_ttl: policy.error_ttl,
        samples,
        // Whoever wants several answers, or one of its own, does not want another's.
        coalesce: policy.coalesce && policy.mode == CacheMode::On && read && write && samples == 1,
        any_tenant: is_replay,
    }
}
