//! What a running process cannot change: the keys that are taken once, when it starts.

use secrecy::ExposeSecret;

use crate::config::Admission;
use crate::config::Config;
use crate::config::Limits;

/// Puts the values in force back where they cannot change, and names the keys that waited for it.
pub fn keep(old: &Config, new: &mut Config) -> Vec<&'static str> {
    let mut waiting = Vec::new();
    let mut keep = |key, is_other: bool| is_other.then(|| waiting.push(key));
    keep("listen", old.listen != new.listen);
    keep("admin", old.admin != new.admin);
    keep("admin_token", !is_same(&old.admission, &new.admission));
    keep("health", old.health != new.health);
    keep("data_dir", old.data_dir != new.data_dir);
    let texts = |config: &Config| {
        let keys = config.encryption_keys.iter();
        keys.map(|key| key.expose_secret().to_owned()).collect::<Vec<_>>()
    };
    keep("encryption_keys", texts(old) != texts(new));
    keep("cache.max_bytes", old.cache.max_bytes != new.cache.max_bytes);
    // Without `..`, so that a new limit does not compile until it is here.
    let Limits {
        max_request_bytes: _,
        max_answer_bytes: _,
        max_concurrency,
        shadow_queue,
        judge_concurrency,
        recorder_queue,
        socket_life: _,
        socket_idle: _,
        drain,
    } = old.limits;
    let copies = old.shadowing.concurrency;
    keep("shadow.concurrency", copies != new.shadowing.concurrency);
    let limits = &mut new.limits;
    keep("limits.max_concurrency", max_concurrency != limits.max_concurrency);
    keep("limits.shadow_queue", shadow_queue != limits.shadow_queue);
    keep("limits.judge_concurrency", judge_concurrency != limits.judge_concurrency);
    keep("limits.recorder_queue", recorder_queue != limits.recorder_queue);
    keep("limits.drain", drain != limits.drain);
    *limits = Limits {
        max_concurrency,
        shadow_queue,
        judge_concurrency,
        recorder_queue,
        drain,
        ..*limits
    };
    new.admission = old.admission.clone();
    (new.listen, new.admin, new.health) = (old.listen, old.admin, old.health);
    new.shadowing.concurrency = copies;
    new.data_dir.clone_from(&old.data_dir);
    new.encryption_keys.clone_from(&old.encryption_keys);
    new.cache.max_bytes = old.cache.max_bytes;
    new.routes.values_mut().for_each(|route| route.cache.max_bytes = old.cache.max_bytes);
    waiting
}

fn is_same(old: &Admission, new: &Admission) -> bool {
    match (old, new) {
        (Admission::Token(old), Admission::Token(new)) => {
            old.expose_secret() == new.expose_secret()
        }
        (Admission::Local, Admission::Local) | (Admission::Open, Admission::Open) => true,
        (Admission::Local | Admission::Open | Admission::Token(_), _) => false,
    }
}
