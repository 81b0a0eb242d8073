//! What each comparator says, as tables.

use serde_json::json;

use super::COMPARATORS;
use super::Comparator;
use super::Compared;
use super::Finding;
use super::language;
use super::refusal;
use super::settle;
use crate::chat::Answer;
use crate::chat::Choice;
use crate::chat::DialectName;
use crate::chat::ToolCall;
use crate::chat::request::Format;
use crate::chat::request::Request;

fn saying(text: &str) -> Answer {
    let choice = Choice { text: text.to_owned(), ..Choice::default() };
    Answer { choices: vec![choice], ..Answer::default() }
}

fn calling(calls: &[(&str, &str)]) -> Answer {
    let call = |(name, arguments): &(&str, &str)| ToolCall {
        name: (*name).to_owned(),
        arguments: (*arguments).to_owned(),
        ..ToolCall::default()
    };
    let tool_calls = calls.iter().map(call).collect();
    let choice = Choice { tool_calls, ..Choice::default() };
    Answer { choices: vec![choice], ..Answer::default() }
}

fn find(by: Comparator, control: &Answer, candidate: &Answer) -> Finding {
    by.find(&Compared { asked: None, control, candidate })
}

/// What a comparator says of two texts, whichever is control's.
fn check(by: Comparator, cases: &[(&str, &str, Finding)]) {
    for (a, b, wanted) in cases {
        for (a, b) in [(a, b), (b, a)] {
            assert_eq!(find(by, &saying(a), &saying(b)), *wanted, "{}: {a:?} {b:?}", by.name());
        }
    }
}

#[test]
fn comparators_are_sorted_and_found_by_name() {
    assert!(COMPARATORS.is_sorted_by_key(|(name, _)| *name));
    for (name, comparator) in COMPARATORS {
        assert_eq!(Comparator::parse(name), Some(*comparator));
        assert_eq!(comparator.name(), *name);
    }
}

#[test]
fn exact_and_text_differ_in_what_they_forgive() {
    use Finding::{Equal, Unknown};
    check(Comparator::Exact, &[("a", "a", Equal), ("a", "A", Unknown), ("a", "a ", Unknown)]);
    check(
        Comparator::Text,
        &[
            ("Paris.", "paris", Equal),
            ("It\u{2019}s  \u{201c}fine\u{201d} — really!", "it's \"fine\" - really", Equal),
            ("**Yes**, of course", "Yes, of course.", Equal),
            ("a\n\nb", "a b", Equal),
            ("-5", "5", Unknown),
            ("no", "not", Unknown),
            ("a.b", "ab", Unknown),
            ("2 * 3", "2 + 3", Unknown),
            ("café", "cafe", Unknown),
        ],
    );
    let (said, called) = (saying("x"), calling(&[("x", "{}")]));
    assert_eq!(find(Comparator::Text, &said, &called), Unknown);
}

#[test]
fn json_is_compared_by_value() {
    use Finding::{Equal, Unknown};
    check(
        Comparator::Json,
        &[
            ("{\"a\": 1, \"b\": [2]}", "{\"b\":[2.0],\"a\":1}", Equal),
            ("```json\n{\"a\": 1}\n```", "{\"a\":1}", Equal),
            ("[1, 2]", "[2, 1]", Unknown),
            ("{\"a\": \"1\"}", "{\"a\": 1}", Unknown),
            ("{\"a\": 9007199254740993}", "{\"a\": 9007199254740992}", Unknown),
            ("{\"a\": 1}", "{\"a\": 1} and more", Unknown),
            ("yes", "yes", Unknown),
        ],
    );
}

#[test]
fn tool_calls_are_the_same_in_any_order_and_with_numbers_by_value() {
    let one = calling(&[("find", "{\"n\": 1, \"q\": \"x\"}"), ("ask", "")]);
    let same = calling(&[("ask", "{}"), ("find", "{\"q\":\"x\",\"n\":1.0}")]);
    let twice = calling(&[("ask", "{}"), ("ask", "{}")]);
    let broken = calling(&[("ask", "{")]);
    let mut talking = one.clone();
    talking.choices[0].text = "Let me see.".to_owned();
    let by = Comparator::ToolCalls;
    assert_eq!(find(by, &one, &same), Finding::Equal);
    for other in [&twice, &broken, &talking, &saying("x")] {
        assert_eq!(find(by, &one, other), Finding::Unknown, "{other:?}");
        assert_eq!(find(by, other, &one), Finding::Unknown, "{other:?}");
    }
    assert_eq!(find(by, &broken, &broken), Finding::Unknown);
}

#[test]
fn the_number_an_answer_comes_to_is_compared() {
    use Finding::{Equal, Unknown};
    check(
        Comparator::Number,
        &[
            ("42", "The answer is 42.", Equal),
            ("First 7, then 6.\nSo 7 * 6 = 42", "#### 42", Equal),
            ("\\boxed{1234.5}", "Result: 1,234.50", Equal),
            ("\\boxed{\\frac{3}{4}}", "It is 0.75", Equal),
            ("−5", "The answer is: -5", Equal),
            ("1e-3", "0.001", Equal),
            ("50%", "It is 50 %.", Equal),
            ("50%", "50", Unknown),
            ("5", "-5", Unknown),
            ("The answer is 4, not 5.", "5", Unknown),
            ("In 1999 it was so.\nNobody knows.", "In 1999 it was so.\nNobody knows.", Unknown),
            ("none", "none", Unknown),
            ("gpt4", "4", Unknown),
        ],
    );
}

#[test]
fn code_is_compared_up_to_white_space() {
    use Finding::{Equal, Unknown};
    check(
        Comparator::Code,
        &[
            (
                "Here:\n```py\nif x:\n\ty = 1\n```",
                "```python\nif x:\n    y  =  1\n\n```\nDone",
                Equal,
            ),
            ("```\nif x:\n    y\n```", "```\nif x:\ny\n```", Unknown),
            ("```\na\n```", "```\na\n```\n```\nb\n```", Unknown),
            ("~~~\na\n~~~", "```\na\n```", Equal),
            ("a = 1", "a = 1", Unknown),
            ("```\n\n```", "```\n```", Unknown),
        ],
    );
}

#[test]
fn refusals_are_known_by_their_words_too() {
    for text in [
        "I'm sorry, but I can't assist with that.",
        "I’m sorry, I cannot help with this request.",
        "I cannot provide instructions for that. Please talk to a doctor.",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "很抱歉，我无法提供帮助。",
    ] {
        assert!(refusal::is_in_words(text), "{text}");
    }
    for text in [
        "",
        "I can't recommend this book enough!",
        "Sorry for the delay. Your parcel is on its way.",
        "Plants cannot help absorbing light.",
        "```\nraise ValueError(\"I cannot help with that\")\n```",
        &format!("{} I cannot help with that, he said.", "Once upon a time. ".repeat(20)),
    ] {
        assert!(!refusal::is_in_words(text), "{text}");
    }
    let mut withheld = saying("");
    withheld.choices[0].refusal = "no".to_owned();
    let words = saying("I'm sorry, but I can't help with that.");
    assert_eq!(find(Comparator::Refusal, &withheld, &words), Finding::Equal);
    assert_eq!(find(Comparator::Refusal, &withheld, &saying("Sure!")), Finding::Unknown);
}

#[test]
fn languages_are_told_by_script_and_common_words() {
    for (text, wanted) in [
        ("How do I reset my password?", Some("en")),
        ("Wie kann ich mein Passwort zurücksetzen, und was ist mit dem Konto?", Some("de")),
        ("Comment puis-je changer le mot de passe de mon compte ?", Some("fr")),
        ("¿Cómo puedo cambiar la contraseña de mi cuenta?", Some("es")),
        ("Como posso mudar a senha da minha conta? Não sei o que fazer.", Some("pt")),
        ("Come posso cambiare la password del mio account? Non so cosa fare.", Some("it")),
        ("Hoe kan ik het wachtwoord van mijn account wijzigen?", Some("nl")),
        ("パスワードを変更するには？", Some("ja")),
        ("如何更改密码？", Some("zh")),
        ("비밀번호를 어떻게 바꾸나요?", Some("ko")),
        ("Как изменить пароль?", Some("ru")),
        ("Як змінити пароль від її облікового запису?", Some("uk")),
        ("كيف أغير كلمة المرور؟", Some("ar")),
        ("पासवर्ड कैसे बदलें?", Some("hi")),
        ("Πώς αλλάζω τον κωδικό;", Some("el")),
        ("42", None),
        ("xyzzy plugh", None),
        ("```\nthe and of to is in\n```", None),
    ] {
        assert_eq!(language::of(text), wanted, "{text}");
    }
}

#[test]
fn a_difference_of_language_or_length_forbids_a_tie() {
    let (control, candidate) =
        (saying("The answer is 42, as you asked."), saying("Die Antwort ist 42: answer: 42"));
    let pair = Compared { asked: None, control: &control, candidate: &candidate };
    assert_eq!(settle(&[Comparator::Number], &pair), Some((Comparator::Number, Finding::Equal)));
    assert_eq!(settle(&[Comparator::Number, Comparator::Language], &pair), None);
    let long = saying(&format!("{} so it is 42", "word ".repeat(100)));
    let pair = Compared { asked: None, control: &control, candidate: &long };
    assert_eq!(settle(&[Comparator::Length, Comparator::Number], &pair), None);
    check(Comparator::Length, &[("a", "abcde", Finding::Unknown)]);
}

#[test]
fn only_one_answer_of_the_shape_asked_for_wins() {
    let mut asked = Request::new(DialectName::OpenAi, "m");
    asked.format = Some(Format::Schema {
        name: None,
        description: None,
        schema: json!({"type": "object", "required": ["a"]}),
        strict: None,
    });
    let (good, bad) = (saying("{\"a\": 1}"), saying("a is 1"));
    for (control, candidate, wanted) in [
        (&good, &bad, Finding::ControlBetter),
        (&bad, &good, Finding::CandidateBetter),
        (&good, &good, Finding::Unknown),
        (&bad, &bad, Finding::Unknown),
    ] {
        let pair = Compared { asked: Some(&asked), control, candidate };
        assert_eq!(Comparator::Schema.find(&pair), wanted);
        let unasked = Compared { asked: None, ..pair };
        assert_eq!(Comparator::Schema.find(&unasked), Finding::Unknown);
    }
    // A failure counts before anything the two have in common.
    let pair = Compared { asked: Some(&asked), control: &good, candidate: &bad };
    let both = [Comparator::Number, Comparator::Schema];
    assert_eq!(settle(&both, &pair), Some((Comparator::Schema, Finding::ControlBetter)));
}
