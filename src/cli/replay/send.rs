//! A stored request, sent again through our own adapters.

use http::HeaderMap;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::library;
use crate::store::exchange::Exchange;
use crate::store::exchange::Head;
use crate::upstream::Call;
use crate::upstream::Upstream;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::pump::Flow;
use crate::upstream::pump::Terms;
use crate::upstream::way::Way;

/// What came of it.
pub struct Sent {
    /// The old question with the new answer.
    pub exchange: Exchange,
    /// What the new target was not asked, in words.
    pub losses: Vec<String>,
}

/// Asks `target` what an exchange asked, with the changes of its variant if it is that one's.
///
/// # Errors
/// The provider is not configured or not reached, or its dialect has no place for what is asked.
pub async fn again(config: &Config, old: &Exchange, target: Target) -> Result<Sent> {
    let (head, dialect) = library::asked(old)?;
    let provider = config.providers.get(&target.provider).ok_or_else(|| {
        let known: Vec<&str> = config.providers.keys().map(String::as_str).collect();
        let what = format!("no provider \"{}\": there is {}", target.provider, known.join(", "));
        Error::new(Kind::NotFound, what)
    })?;
    let variant = old.head.assigned.as_deref().and_then(|assigned| {
        let (experiment, variant) = assigned.split_once('=')?;
        config.experiments.iter().find(|e| e.name == experiment)?.variant(variant)
    });
    let variant = variant.filter(|variant| variant.target == target);
    let mut outgoing = Outgoing::write(&head, dialect, provider, &target.model, variant, true)?;
    if outgoing.dialect == dialect.name() {
        outgoing.query.clone_from(&old.head.asked.query);
    }
    let into = outgoing.dialect.as_str();
    let losses = outgoing.losses.fields();
    let losses = losses.map(|(_, field)| format!("not known to {into}, left out: {field}"));
    let losses = losses.collect();
    let (headers, timeouts) = (HeaderMap::new(), config.timeouts);
    let call = Call { target: &target, outgoing, headers: &headers, timeouts };
    let opened = Upstream::new(config)?.send_once(call).await?;
    let (status, answered_in) = (opened.status.as_u16(), opened.dialect);
    let terms = Terms {
        dialect: opened.dialect.dialect(),
        way: Way::Untouched,
        is_stream: opened.is_event_stream(),
        max_kept_bytes: config.limits.max_answer_bytes,
        must_finish: true,
    };
    let is_stream = terms.is_stream;
    let (done, account) = oneshot::channel();
    let mut flow = Flow::new(opened, terms, Box::new(move |account| drop(done.send(account))));
    while flow.next().await.is_some() {}
    let account = account
        .await
        .map_err(|_| Error::new(Kind::Internal, "an answer ended without an account"))?;
    let usage = account.answer.usage;
    let head = Head {
        cost_nano_usd: usage.and_then(|usage| {
            config.prices.cost_of(&target, account.answer.model.as_deref(), &usage)
        }),
        target: target.to_string(),
        dialect: answered_in.as_str().to_owned(),
        is_stream,
        status,
        ended: account.ended.as_str().to_owned(),
        answered_ms: jiff::Timestamp::now().as_millisecond(),
        fresh_until_ms: 0,
        not_served: Some("it was sent by hand".to_owned()),
        first_us: account.pieces.first().map_or(account.took_us, |piece| piece.at_us),
        took_us: account.took_us,
        usage,
        model: account.answer.model,
        ..old.head.clone()
    };
    let exchange = Exchange { head, request: old.request.clone(), frames: account.pieces };
    Ok(Sent { exchange, losses })
}
