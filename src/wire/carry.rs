//! The one table that says what becomes of something the other dialect has no place for.

use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::wire::quirk::Quirks;

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Left out, and the response says so in a `Warning` header: the answer may differ a little.
    Report,
    /// The request is refused: without it the answer would be to another question.
    Refuse,
}

/// What a request can ask for that some dialect or provider does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// Sound in a message.
    AudioInput,
    /// `cache_control` marks and the like: only the price changes.
    CacheMark,
    /// Several answers.
    Choices,
    /// Embeddings of a chosen length.
    Dimensions,
    /// The name of the end user.
    EndUser,
    /// A document in a message.
    FileInput,
    /// A file the provider keeps, named by its id.
    FileId,
    /// A penalty on repeated tokens.
    FrequencyPenalty,
    /// How closely to look at a picture.
    ImageDetail,
    /// A picture in a message.
    ImageInput,
    /// A picture or document named by its URL.
    UrlSource,
    /// JSON without a schema.
    JsonMode,
    /// JSON of a schema.
    JsonSchema,
    /// Log-probabilities.
    Logprobs,
    /// The application's labels.
    Metadata,
    /// The name of a message's speaker.
    Name,
    /// A tool that only the request's dialect knows.
    OwnTool,
    /// A way to choose tools that only the request's dialect knows.
    OwnToolChoice,
    /// A piece of a message that only the request's dialect knows.
    OwnPart,
    /// Leave to make several calls at once, or not.
    ParallelTools,
    /// A penalty on tokens that are there already.
    PresencePenalty,
    /// What the provider keeps from earlier requests, or is to work on later.
    ProviderState,
    /// What an embedding is for.
    Purpose,
    /// How much to think.
    Reasoning,
    /// Earlier reasoning in the history.
    ReasoningHistory,
    /// What only another maker understands.
    Seal,
    /// A number that makes answers repeat.
    Seed,
    /// Words to end before.
    Stop,
    /// More words to end before than the dialect takes.
    StopCount,
    /// Whether to keep to a tool's schema to the letter.
    StrictTool,
    /// The place of a system prompt that stands in the middle of a conversation.
    SystemPlace,
    /// Temperature.
    Temperature,
    /// Tokens instead of words to embed.
    TokenInput,
    /// Tools.
    Tools,
    /// Whether a tool must be called.
    ToolChoice,
    /// A picture in what a tool gave.
    ToolResultMedia,
    /// Only the likeliest so many tokens.
    TopK,
    /// Nucleus sampling.
    TopP,
    /// A field that only the request's dialect knows.
    UnknownField,
    /// Moving pictures in a message.
    VideoInput,
}

/// Every feature, what becomes of it without a home, and what to do about it.
///
/// Sorted by feature. What the model reads or must do is refused; what only shades the answer,
/// its price or its bookkeeping is reported.
pub static WITHOUT_HOME: &[(Feature, Fate, &str)] = &[
    (Feature::AudioInput, Fate::Refuse, "send the words, or ask a model that hears"),
    (Feature::CacheMark, Fate::Report, "the provider caches by its own rules"),
    (Feature::Choices, Fate::Refuse, "ask several times instead"),
    (Feature::Dimensions, Fate::Refuse, "leave the length to the model"),
    (Feature::EndUser, Fate::Report, "it is not sent"),
    (Feature::FileInput, Fate::Refuse, "send its text"),
    (Feature::FileId, Fate::Refuse, "send the file itself: only its own provider knows the id"),
    (Feature::FrequencyPenalty, Fate::Report, "answers may repeat themselves more"),
    (Feature::ImageDetail, Fate::Report, "the provider chooses"),
    (Feature::ImageInput, Fate::Refuse, "ask a model that sees"),
    (Feature::UrlSource, Fate::Refuse, "send the data itself, as base64"),
    (Feature::JsonMode, Fate::Refuse, "give a schema, or ask for JSON in the prompt"),
    (Feature::JsonSchema, Fate::Refuse, "ask for JSON in the prompt, or use a tool"),
    (Feature::Logprobs, Fate::Refuse, "ask without log-probabilities"),
    (Feature::Metadata, Fate::Report, "it is not sent"),
    (Feature::Name, Fate::Report, "put names into the text if they matter"),
    (Feature::OwnTool, Fate::Refuse, "use a function tool"),
    (Feature::OwnToolChoice, Fate::Refuse, "use auto, none, required or a tool's name"),
    (Feature::OwnPart, Fate::Refuse, "send it as text"),
    (Feature::ParallelTools, Fate::Report, "the model may do as it likes"),
    (Feature::PresencePenalty, Fate::Report, "answers may repeat themselves more"),
    (Feature::ProviderState, Fate::Refuse, "send the whole conversation and wait for the answer"),
    (Feature::Purpose, Fate::Report, "vectors may fit their purpose less well"),
    (Feature::Reasoning, Fate::Report, "the model thinks as much as it likes"),
    (Feature::ReasoningHistory, Fate::Report, "the model does not see what was thought before"),
    (Feature::Seal, Fate::Report, "only its maker can read it"),
    (Feature::Seed, Fate::Report, "answers may not repeat"),
    (Feature::Stop, Fate::Refuse, "cut the answer in the application"),
    (Feature::StopCount, Fate::Refuse, "give fewer stop sequences"),
    (Feature::StrictTool, Fate::Report, "check the arguments in the application"),
    (Feature::SystemPlace, Fate::Report, "it is read with the prompt at the beginning"),
    (Feature::Temperature, Fate::Report, "the provider's own is used"),
    (Feature::TokenInput, Fate::Refuse, "send the text: each model has its own tokens"),
    (Feature::Tools, Fate::Refuse, "ask a model that calls tools"),
    (Feature::ToolChoice, Fate::Refuse, "leave the choice to the model"),
    (Feature::ToolResultMedia, Fate::Refuse, "send it in a user message"),
    (Feature::TopK, Fate::Report, "tokens are drawn from more, or fewer"),
    (Feature::TopP, Fate::Report, "the provider's own is used"),
    (Feature::UnknownField, Fate::Report, "name it in the variant's patch if the target knows it"),
    (Feature::VideoInput, Fate::Refuse, "send pictures of it"),
];

/// Fields of a request that speak of something only its own provider has.
const STATE: &[&str] = &["background", "conversation", "previous_response_id", "prompt"];

/// Fields inside a list, such as a history's, that only say which of the provider's own answers a
/// piece was, and where in it: clients send them back as they got them and ask for nothing by them.
const IDENTITY: &[&str] = &["annotations", "caller", "id", "index", "item", "logprobs", "status"];

/// Whether nobody asked for anything by the field.
fn is_identity(field: &str) -> bool {
    field.rsplit_once("].").is_some_and(|(_, field)| IDENTITY.contains(&field))
}

/// What was left out of a request, by field, in the order it was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    into: Option<DialectName>,
    lacks: &'static [Feature],
    reported: Vec<(Feature, String)>,
}

impl Losses {
    /// Nothing lost yet on the way into a provider's dialect.
    pub fn new(into: DialectName, quirks: &Quirks) -> Self {
        Self { into: Some(into), lacks: quirks.lacks, reported: Vec::new() }
    }

    /// Whether the provider, whose dialect knows the feature, lacks it all the same.
    pub fn lacks(&self, feature: Feature) -> bool {
        self.lacks.contains(&feature)
    }

    /// Leaves out the field `field` (as the request's dialect spells it, with its path).
    ///
    /// # Errors
    /// The table does not allow to leave it out.
    pub fn leave_out(&mut self, feature: Feature, field: &str) -> Result<()> {
        // No other dialect knows these fields, and none may answer without what they speak of.
        let is_state = feature == Feature::UnknownField && STATE.contains(&field);
        let feature = if is_state { Feature::ProviderState } else { feature };
        if feature == Feature::UnknownField && is_identity(field) {
            return Ok(());
        }
        let row = WITHOUT_HOME.iter().find(|(of, _, _)| *of == feature);
        let Some((_, Fate::Report, _)) = row else {
            let into = self.into.map_or("other", DialectName::as_str);
            let remedy = row.map_or("leave it out", |(_, _, remedy)| remedy);
            let what = format!("`{field}` cannot be carried to the {into} dialect: {remedy}");
            return Err(Error::new(Kind::BadRequest, what));
        };
        if !self.reported.iter().any(|(_, known)| known == field) {
            self.reported.push((feature, field.to_owned()));
        }
        Ok(())
    }

    /// The fields left out.
    pub fn fields(&self) -> impl Iterator<Item = (Feature, &str)> {
        self.reported.iter().map(|(feature, field)| (*feature, field.as_str()))
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.reported.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Feature;
    use super::Losses;
    use super::WITHOUT_HOME;

    #[test]
    fn what_only_tells_which_answer_a_piece_was_is_not_reported() {
        let mut losses = Losses::default();
        for field in ["input[2].id", "messages[1].content[0].item", "messages[1].status"] {
            losses.leave_out(Feature::UnknownField, field).unwrap();
        }
        assert!(losses.is_empty(), "{losses:?}");
        for field in ["status", "messages[1].identity", "messages[1].id.more"] {
            losses.leave_out(Feature::UnknownField, field).unwrap();
        }
        assert_eq!(losses.fields().count(), 3);
    }

    #[test]
    fn every_feature_has_one_row() {
        for pair in WITHOUT_HOME.windows(2) {
            assert_ne!(pair[0].0, pair[1].0);
        }
        let last = Feature::VideoInput as usize;
        assert_eq!(WITHOUT_HOME.len(), last + 1);
        for (at, (feature, _, remedy)) in WITHOUT_HOME.iter().enumerate() {
            assert_eq!(*feature as usize, at, "{feature:?} out of order");
            assert!(!remedy.is_empty());
        }
    }
}
