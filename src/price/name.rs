//! The names that one model goes by.

/// Below these a provider keeps its models; the rest is the model's name.
const FOLDERS: [&str; 2] = ["models/", "publishers/google/models/"];

/// What a name may be called in a table, the most exact first.
///
/// A dated name costs what the undated one costs unless it has a row of its own, and so does what
/// Bedrock serves from anywhere; the profiles of its regions have prices of their own.
pub fn spellings(model: &str) -> Vec<&str> {
    let mut names = vec![model];
    // A profile's resource name ends with its id.
    let bare = match model.starts_with("arn:") {
        true => model.rsplit('/').next(),
        false => FOLDERS.iter().find_map(|folder| model.strip_prefix(folder)),
    };
    names.extend(bare);
    let last = bare.unwrap_or(model);
    let anywhere = last.strip_prefix("global.");
    names.extend(anywhere);
    let last = anywhere.unwrap_or(last);
    names.extend(last.split_once('@').map(|(name, _)| name));
    names.extend(undated(last));
    names
}

/// The name without a date such as `-2024-08-06` or `-20240806` at its end.
fn undated(model: &str) -> Option<&str> {
    [("-dddd-dd-dd", 11), ("-dddddddd", 9)].into_iter().find_map(|(form, length)| {
        let (name, date) = model.split_at_checked(model.len().checked_sub(length)?)?;
        let fits = |(byte, form): (u8, u8)| match form {
            b'd' => byte.is_ascii_digit(),
            dash => byte == dash,
        };
        date.bytes().zip(form.bytes()).all(fits).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::spellings;

    #[test]
    fn a_name_is_looked_for_as_it_is_first() {
        for (model, names) in [
            ("gpt-4o", &["gpt-4o"][..]),
            ("gpt-4o-2024-08-06", &["gpt-4o-2024-08-06", "gpt-4o"]),
            ("claude-haiku-4-5-20251001", &["claude-haiku-4-5-20251001", "claude-haiku-4-5"]),
            ("claude-sonnet-5@default", &["claude-sonnet-5@default", "claude-sonnet-5"]),
            ("models/gemini-2.5-pro", &["models/gemini-2.5-pro", "gemini-2.5-pro"]),
            (
                "global.anthropic.claude-opus-5",
                &["global.anthropic.claude-opus-5", "anthropic.claude-opus-5"],
            ),
            ("us.anthropic.claude-opus-5", &["us.anthropic.claude-opus-5"]),
            (
                "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.m",
                &["arn:aws:bedrock:eu-west-1:1:inference-profile/eu.m", "eu.m"],
            ),
        ] {
            assert_eq!(spellings(model), names);
        }
    }
}
