//! How a judge's question is put, in the words of the people who run the experiment.
//!
//! A template is rendered once, when its file is read, with marks in the places of the texts that
//! are to be judged. So what an application's users or a model wrote never meets the template
//! engine, and no filter can take a fence away: the marks have to come out whole.

use minijinja::Environment;
use minijinja::Error;
use minijinja::ErrorKind;
use minijinja::UndefinedBehavior;
use minijinja::context;

/// Steps that a template may take.
const FUEL: u64 = 10_000;

/// The longest template, and the longest question made of one, bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// Marks stand between these, which are characters of nobody's alphabet.
const MARKS: [char; 2] = ['\u{e000}', '\u{e001}'];

/// What stands in a template for a text that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// All that was said before the answers.
    Conversation,
    /// What the user said last.
    Question,
    /// The answer that is shown first.
    AnswerA,
    /// The answer that is shown second.
    AnswerB,
    /// An answer known to be good.
    Reference,
}

/// Every slot by the name of its variable.
pub const SLOTS: [(&str, Slot); 5] = [
    ("answer_a", Slot::AnswerA),
    ("answer_b", Slot::AnswerB),
    ("conversation", Slot::Conversation),
    ("question", Slot::Question),
    ("reference", Slot::Reference),
];

/// A piece of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The template's own words.
    Text(String),
    /// A text that is judged.
    Shown(Slot),
}

/// A template that was rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As it was written.
    pub source: String,
    /// Where the request has a reference.
    pub with_reference: Vec<Piece>,
    /// Where it has none.
    pub without_reference: Vec<Piece>,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// From 1, if one line is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub help: String,
}

impl Template {
    /// Renders a template for these criteria.
    ///
    /// # Errors
    /// It cannot be read, does not end, or does not show what is to be judged.
    pub fn parse(source: &str, criteria: &str) -> Result<Self, Flaw> {
        let flaw = |what: String, help: &str| Flaw { line: None, what, help: help.to_owned() };
        if source.len() > MAX_BYTES {
            return Err(flaw("is longer than 64 KiB".to_owned(), "write a shorter one"));
        }
        if source.contains(MARKS) {
            return Err(flaw("holds a private character".to_owned(), "remove U+E000 and U+E001"));
        }
        let with_reference = pieces(&render(source, criteria, true)?);
        let without_reference = pieces(&render(source, criteria, false)?);
        for pieces in [&with_reference, &without_reference] {
            if let Some(missing) = missing(pieces) {
                let what = format!("does not show {missing}");
                return Err(flaw(
                    what,
                    "write {{ question }}, {{ answer_a }} and {{ answer_b }}, without filters",
                ));
            }
        }
        Ok(Self { source: source.to_owned(), with_reference, without_reference })
    }
}

fn render(source: &str, criteria: &str, with_reference: bool) -> Result<String, Flaw> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    let reference = with_reference.then(|| mark("reference"));
    let values = context! {
        answer_a => mark("answer_a"),
        answer_b => mark("answer_b"),
        conversation => mark("conversation"),
        question => mark("question"),
        reference => reference,
        criteria => criteria,
    };
    let rendered = engine.render_str(source, values).map_err(|error| explain(&error))?;
    if rendered.len() > MAX_BYTES {
        let what = "makes a question longer than 64 KiB".to_owned();
        return Err(Flaw { line: None, what, help: "write a shorter one".to_owned() });
    }
    Ok(rendered)
}

fn mark(name: &str) -> String {
    let [open, close] = MARKS;
    format!("{open}{name}{close}")
}

fn explain(error: &Error) -> Flaw {
    let names: Vec<&str> = SLOTS.iter().map(|(name, _)| *name).chain(["criteria"]).collect();
    let (what, help) = match error.kind() {
        ErrorKind::UndefinedError => (
            "uses a variable that there is not".to_owned(),
            format!("there are {}", names.join(", ")),
        ),
        ErrorKind::OutOfFuel => {
            ("takes too many steps".to_owned(), "write out what it repeats".to_owned())
        }
        kind => {
            let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            (format!("cannot be rendered: {kind}{detail}"), "see docs of minijinja 3".to_owned())
        }
    };
    Flaw { line: error.line(), what, help }
}

/// Cuts a rendered template at its marks.
fn pieces(rendered: &str) -> Vec<Piece> {
    let [open, close] = MARKS;
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = rendered;
    while let Some((before, after)) = rest.split_once(open) {
        text.push_str(before);
        let slot = after.split_once(close).and_then(|(name, after)| Some((slot(name)?, after)));
        rest = match slot {
            Some((slot, after)) => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Shown(slot));
                after
            }
            None => after,
        };
    }
    text.push_str(&rest.replace(close, ""));
    pieces.push(Piece::Text(text));
    pieces
}

fn slot(name: &str) -> Option<Slot> {
    SLOTS.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot)
}

/// The first text that has to be shown and is not.
fn missing(pieces: &[Piece]) -> Option<&'static str> {
    let shows = |slot: Slot| pieces.contains(&Piece::Shown(slot));
    match () {
        () if !shows(Slot::AnswerA) => Some("answer_a"),
        () if !shows(Slot::AnswerB) => Some("answer_b"),
        () if !shows(Slot::Question) && !shows(Slot::Conversation) => {
            Some("question or conversation")
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Piece;
    use super::Slot;
    use super::Template;

    #[test]
    fn a_template_becomes_pieces_around_what_is_shown() {
        let source = "Judge by {{ criteria }}.\n{{ question }}\n(a) {{ answer_a }} (b) {{ answer_b }}\
                      {% if reference %} Good: {{ reference }}{% endif %}!";
        let template = Template::parse(source, "truth").unwrap();
        let text = |text: &str| Piece::Text(text.to_owned());
        let shared = [
            text("Judge by truth.\n"),
            Piece::Shown(Slot::Question),
            text("\n(a) "),
            Piece::Shown(Slot::AnswerA),
            text(" (b) "),
            Piece::Shown(Slot::AnswerB),
        ];
        let with = [&shared[..], &[text(" Good: "), Piece::Shown(Slot::Reference), text("!")]];
        assert_eq!(template.with_reference, with.concat());
        assert_eq!(template.without_reference, [&shared[..], &[text("!")]].concat());
    }

    #[test]
    fn what_is_wrong_with_a_template_is_told_with_its_line() {
        let all = "{{ question }}{{ answer_a }}{{ answer_b }}";
        for (source, line, what) in [
            ("{{ question }}{{ answer_a }}".to_owned(), None, "does not show answer_b"),
            ("{{ answer_a }}{{ answer_b }}".to_owned(), None, "question or conversation"),
            (format!("{all}\n\n{{{{ nothing }}}}"), Some(3), "a variable that there is not"),
            (format!("{all}\n{{% if %}}"), Some(2), "cannot be rendered"),
            (format!("{all}{{% for i in range(99999) %}}x{{% endfor %}}"), Some(1), "steps"),
            (all.replace("answer_a", "answer_a|upper"), None, "does not show answer_a"),
            (all.replace("answer_a", "answer_a[1:]"), None, "does not show answer_a"),
            (all.replace("answer_a", "answer_a|replace('a', '')"), None, "answer_a"),
        ] {
            let flaw = Template::parse(&source, "").unwrap_err();
            assert!(flaw.what.contains(what), "{source}: {flaw:?}");
            assert_eq!(flaw.line, line, "{source}: {flaw:?}");
        }
    }
}
