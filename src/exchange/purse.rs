//! What is set aside for a call before it is made, on the account of whoever makes it.

use std::time::Instant;

use crate::chat::Usage;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::ask::Ask;
use crate::ledger;
use crate::tokens;
use crate::turnstile::Reservation;

impl Front {
    /// Sets aside what a call is expected to cost at most, if its caller has a limit that counts it:
    /// the words of the request as an estimate, and as long an answer as it allows, at the prices of
    /// the dearest target that may have to answer.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn reserve(&self, ask: &Ask) -> Result<Option<Reservation>> {
        let Some(patron) = &ask.incoming.patron else { return Ok(None) };
        if !patron.budget.is_any() && patron.limits.tokens_per_minute.is_none() {
            return Ok(None);
        }
        let body = &ask.request.body;
        let input = ask.read.as_deref().map_or(body.len() as u64 / 4, tokens::estimate);
        let output = ledger::most_output_tokens(body);
        let usage =
            Usage { input_tokens: Some(input), output_tokens: Some(output), ..Usage::default() };
        let prices = &self.config.prices;
        let costs = ask.targets.iter().map(|target| prices.cost_nano_usd(target, &usage));
        let costs: Option<Vec<u64>> = costs.collect();
        let most = costs.and_then(|costs| costs.into_iter().max());
        let moment = (Instant::now(), jiff::Timestamp::now().as_millisecond());
        let amount = (most, input.saturating_add(output));
        self.turnstile.reserve(patron, amount, moment).map(Some)
    }
}
