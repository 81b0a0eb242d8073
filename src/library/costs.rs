//! What calls cost, by whatever is asked for; of a trace, from the stored exchanges of its calls.

use crate::cost;
use crate::cost::Hour;
use crate::cost::Line;
use crate::cost::Purpose;
use crate::cost::Sums;
use crate::cost::view::Costs;
use crate::cost::view::Summary;
use crate::cost::view::USUAL;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::library::Library;
use crate::library::query::time;
use crate::store::exchange::Head;

/// Every parameter with what it takes.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("by", "words such as caller,model with commas between them"),
    ("since", "a time such as 2h, 7d, 2026-11-23 or 2026-11-23T10:00 (UTC)"),
    ("until", "a time such as 2h, 7d, 2026-11-23 or 2026-11-23T10:00 (UTC)"),
    ("trace", "the 32 hexadecimal digits of a trace's id"),
];

/// Which costs are meant.
#[derive(Clone, Debug)]
pub struct Wanted {
    summary: Summary,
    since: Hour,
    until: Hour,
    trace: Option<String>,
}

impl Wanted {
    /// Reads parameters; times like `2h` count from `now_ms`, and all are rounded to hours so that
    /// everything meant is among them.
    ///
    /// # Errors
    /// A parameter is unknown or does not take its value; the message says what is allowed.
    pub fn parse<'p>(
        parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
        now_ms: i64,
    ) -> Result<Self> {
        let usual = Summary::by(USUAL);
        let missing = || Error::new(Kind::Internal, "the usual words are wrong");
        let summary = usual.ok_or_else(missing)?;
        let mut wanted = Self { summary, since: 0, until: Hour::MAX, trace: None };
        for (name, value) in parameters {
            let Some((_, takes)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<&str> = PARAMETERS.iter().map(|(name, _)| *name).collect();
                let known = known.join(", ");
                let what = format!("no parameter is called `{name}`: there is {known}");
                return Err(Error::new(Kind::BadRequest, what));
            };
            wanted.set(name, value.trim(), now_ms).ok_or_else(|| {
                Error::new(Kind::BadRequest, format!("`{name}` takes {takes}, not \"{value}\""))
            })?;
        }
        Ok(wanted)
    }

    fn set(&mut self, name: &str, value: &str, now_ms: i64) -> Option<()> {
        match name {
            "by" => self.summary = Summary::by(value)?,
            "since" => self.since = cost::hour(time(value, now_ms)?),
            "until" => self.until = cost::hour(time(value, now_ms)?.saturating_sub(1)) + 1,
            _ => {
                let trace = value.to_lowercase();
                let is_id = trace.len() == 32 && trace.bytes().all(|b| b.is_ascii_hexdigit());
                self.trace = is_id.then_some(trace).map(Some)?;
            }
        }
        Some(())
    }

    /// Whether an exchange belongs to the trace that is asked for.
    fn traces(&self, head: &Head) -> bool {
        let hour = cost::hour(head.answered_ms);
        self.trace == head.asked.trace && (self.since..self.until).contains(&hour)
    }
}

impl Library {
    /// What calls cost.
    ///
    /// # Errors
    /// The disk is gone.
    pub async fn costs(&self, mut wanted: Wanted) -> Result<Costs> {
        self.blocking(move |library| {
            let store = &library.store;
            if wanted.trace.is_none() {
                let (hours, summary) = (wanted.since..wanted.until, &mut wanted.summary);
                store.costs(hours, &mut |hour, line, sums| summary.add(hour, line, sums))?;
                return Ok(wanted.summary.finish());
            }
            store.scan(None, &mut |exchange| {
                let head = &exchange.head;
                if wanted.traces(head)
                    && let Some(line) = line(head)
                {
                    wanted.summary.add(cost::hour(head.answered_ms), &line, &sums(head));
                }
                true
            });
            Ok(wanted.summary.finish())
        })
        .await?
    }
}

fn line(head: &Head) -> Option<Line> {
    let target = Target::parse(&head.target)?;
    let line = Line::of(&target, Purpose::Live).assigned(head.assigned.as_deref());
    Some(Line { caller: head.asked.caller.clone(), ..line })
}

fn sums(head: &Head) -> Sums {
    match head.status {
        400.. => Sums::failure(),
        _ => Sums::call(head.usage.as_ref(), head.cost_nano_usd),
    }
}
