//! What an answer comes to in the books.

use bytes::Bytes;

use crate::chat::Answer;
use crate::chat::Usage;
use crate::chat::request::Request;
use crate::cost::Sums;
use crate::experiment::Target;
use crate::price::Prices;
use crate::tokens;

/// What an answer's cost follows from, besides the answer.
#[derive(Clone, Copy)]
pub struct Bill<'a> {
    /// What models cost.
    pub prices: &'a Prices,
    /// Who answered.
    pub target: &'a Target,
    /// The request, if it could be read.
    pub read: Option<&'a Request>,
    /// Its body.
    pub body: &'a Bytes,
}

impl Bill<'_> {
    /// Of an answer that was given, for which a provider asks money.
    ///
    /// Where its tokens were not told, as when it was cut, they are estimated from the words of the
    /// request and from those that came.
    pub fn sums(&self, answer: &Answer) -> Sums {
        let estimate = answer.usage.is_none().then(|| self.estimated(answer));
        let usage = answer.usage.or(estimate);
        let cost = usage
            .and_then(|usage| self.prices.cost_of(self.target, answer.model.as_deref(), &usage));
        let estimated = u64::from(estimate.is_some() && cost.is_some());
        Sums { estimated, ..Sums::call(usage.as_ref(), cost) }
    }

    fn estimated(&self, answer: &Answer) -> Usage {
        let input = tokens::of_prompt(self.read, self.body);
        let said = answer.choices.iter().map(|choice| {
            let calls = choice.tool_calls.iter().map(|call| tokens::of_text(&call.arguments));
            tokens::of_text(&choice.text) + tokens::of_text(&choice.reasoning) + calls.sum::<u64>()
        });
        Usage { input_tokens: Some(input), output_tokens: Some(said.sum()), ..Usage::default() }
    }
}
