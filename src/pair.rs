//! Two or more answers to one request, and how they were scored against each other.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::chat::Answer;
use crate::key::Parts;
use crate::key::PromptDigest;
use crate::key::Tenant;
use crate::stats::winrate::Score;

/// Names a pair: one per experiment, prompt and tenant, however often the prompt is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairId(pub [u8; 16]);

impl PairId {
    /// The id that every pod computes for the same request.
    pub fn of(experiment: &str, prompt: &PromptDigest, tenant: &Tenant) -> Self {
        let mut parts = Parts::new("pair");
        parts.part(experiment.as_bytes());
        parts.part(&prompt.0);
        parts.part(&tenant.0);
        let [digest @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = parts.finish();
        Self(digest)
    }

    /// The id of that name.
    pub fn parse(name: &str) -> Option<Self> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let digits: Option<Vec<u32>> = name.as_bytes().iter().map(digit).collect();
        let bytes = digits?;
        let bytes = bytes.chunks(2).map(|two| match two {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        });
        bytes.collect::<Option<Vec<u8>>>()?.try_into().ok().map(Self)
    }

    /// A fair coin from the id: which answer is shown first when the judge is asked only once.
    pub fn shows_control_first(self) -> bool {
        self.0[0] & 1 == 0
    }
}

impl fmt::Display for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The promise to make a pair: enough to ask every variant again after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The facts.
    pub head: IntentHead,
    /// The request as the application sent it.
    pub request: Bytes,
}

/// The facts of an intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentHead {
    /// Which experiment.
    pub experiment: String,
    /// The request's dialect.
    pub dialect: String,
    /// Model and streaming of a request whose path said them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_path: Option<(String, bool)>,
    /// Everyone who is to answer, `control` first.
    pub variants: Vec<String>,
    /// The request's id.
    pub request_id: String,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// The unit, hashed; `None` in pairs of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u64>,
    /// The route or model that the application asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub route: String,
    /// The first 16 hex digits of the tenant, as `understudy explain` shows them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// The request's headers that judging reads, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The request is not what the application asked, but what may be stored of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_redacted: bool,
}

/// One variant's answer to the request of a pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Half {
    /// Whose it is.
    pub variant: String,
    /// Who answered, `provider/model`.
    pub target: String,
    /// How it came about.
    pub origin: Origin,
    /// What was answered.
    pub answer: Answer,
    /// Until the first piece of the body, microseconds.
    pub first_us: u64,
    /// Until the end, microseconds.
    pub took_us: u64,
}

/// How a half came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The application saw it.
    Live,
    /// Given before the experiment began, and recorded; times are 0 where nobody took them.
    Recorded,
    /// Asked out of the application's sight.
    Shadow,
}

/// What became of a pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The outcome.
    pub outcome: Outcome,
    /// Judge calls that were made for it.
    pub calls: u32,
    /// What they cost, billionths of a dollar; `None` when a price is unknown.
    pub cost_nano_usd: Option<u64>,
    /// Unix milliseconds.
    pub scored_ms: i64,
    /// What is known of the pair besides its score.
    #[serde(default)]
    pub facts: Facts,
}

/// What audits of the judge, segments and clusters need to know of a pair besides its score.
///
/// Everything here is known without the score, except what the judge said in detail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The unit, hashed; pairs of one unit are not independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<u64>,
    /// Where the request belongs, by dimension: `route`, `tools`, `prompt_length`, `language`,
    /// `tenant`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, String>,
    /// Control's answer.
    pub control: Look,
    /// The candidate's answer.
    pub candidate: Look,
    /// What each judge of a panel said, in the order of the definition; empty for a single judge
    /// that gave every verdict it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub panel: Vec<Opinion>,
    /// The same question asked twice: the score of the first and of the second time, candidate's
    /// view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<(Score, Score)>,
    /// Characters that the judge was not shown, of all texts together.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What can be seen of an answer without understanding it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Look {
    /// Characters of text and tool arguments.
    pub chars: u32,
    /// A hash of the text with case, punctuation and white space evened out; equal answers to
    /// different prompts have equal ones.
    pub digest: u64,
    /// Signs that it speaks to the judge instead of the user.
    pub suspicious: bool,
    /// Until the first piece of the body, microseconds.
    pub first_us: u64,
    /// Until the end, microseconds.
    pub took_us: u64,
    /// Price in billionths of a dollar, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_nano_usd: Option<u64>,
    /// Tokens of the answer, if the provider said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

/// What one judge of several said of a pair, candidate's view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opinion {
    /// Who: `provider/model`, or `human`.
    pub judge: String,
    /// With the control's answer shown first; absent when not asked.
    pub control_first: Option<Score>,
    /// With the candidate's answer shown first; absent when not asked.
    pub candidate_first: Option<Score>,
}

/// A score, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A comparator found the two equal: a tie without a judge.
    Equal {
        /// Which one.
        comparator: String,
    },
    /// The judge's verdicts, candidate's view: 0 control better, 1 candidate better.
    Judged {
        /// With the control's answer shown first; absent when not asked. Of a panel, the mean.
        control_first: Option<Score>,
        /// With the candidate's answer shown first; absent when not asked. Of a panel, the mean.
        candidate_first: Option<Score>,
    },
    /// A comparator found that one of the two fails where the other does not.
    Settled {
        /// Which one.
        comparator: String,
        /// A win or a loss, candidate's view.
        score: Score,
    },
    /// The two differ, and chance left the pair out of the sample that is judged.
    Unsampled {},
    /// The judge gave no usable verdict; counted, never a tie.
    Unjudged {
        /// A short stable word.
        reason: String,
    },
}

impl Outcome {
    /// There is no usable verdict, for this reason.
    pub fn unjudged(reason: &str) -> Self {
        Self::Unjudged { reason: reason.to_owned() }
    }

    /// The pair's score: the mean over the orders asked.
    pub fn score(&self) -> Option<Score> {
        match self {
            Self::Equal { .. } => Some(Score::TIE),
            Self::Settled { score, .. } => Some(*score),
            Self::Judged { control_first: Some(a), candidate_first: Some(b) } => Some(a.mean(*b)),
            Self::Judged { control_first, candidate_first } => control_first.or(*candidate_first),
            Self::Unsampled {} | Self::Unjudged { .. } => None,
        }
    }
}
