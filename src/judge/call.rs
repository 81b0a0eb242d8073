//! One call to a model that judges.

use http::HeaderMap;

use crate::chat::Answer;
use crate::chat::DialectName;
use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::upstream::Call;
use crate::upstream::Upstream;
use crate::upstream::outgoing::Outgoing;
use crate::wire;
use crate::wire::Prompt;

/// Puts a question to a judge, in whatever dialect it speaks.
///
/// # Errors
/// It cannot be asked, refuses, or sends nothing that can be read.
pub async fn call(
    config: &Config,
    upstream: &Upstream,
    target: &Target,
    prompt: &Prompt,
) -> Result<Answer> {
    let provider = config.providers.get(&target.provider);
    let unknown = || Error::new(Kind::Config, format!("the judge's provider {target} is gone"));
    let provider = provider.ok_or_else(unknown)?;
    let spoken = provider.dialect_for(DialectName::OpenAi).ok_or_else(unknown)?;
    let dialect = spoken.dialect();
    let body = wire::write_prompt(dialect, prompt, &provider.quirks)?;
    let (headers, timeouts) = (HeaderMap::new(), config.timeouts);
    let outgoing = Outgoing::new(dialect.name(), body, false);
    let call = Call { target, outgoing, headers: &headers, timeouts };
    let opened = upstream.send_once(call).await?;
    let status = opened.status;
    let limit = config.limits.max_answer_bytes;
    let body = opened.collect(limit).await?;
    if !status.is_success() {
        let what = format!("{target} answered with status {}", status.as_u16());
        return Err(Error::new(Kind::Status(status.as_u16()), what));
    }
    let answer = wire::fold(dialect, false, [&body[..]]);
    match &answer.error {
        None => Ok(answer),
        Some(_) => Err(Error::new(Kind::Broken, format!("{target} sent no readable answer"))),
    }
}
