//! A table of everything a provider can do wrong, and what the application gets of it.

use std::time::Duration;

use bytes::Bytes;
use understudy::chat::DialectName;
use understudy::config::Config;
use understudy::wire;

use crate::harness::provider::Answer;
use crate::harness::provider::Gate;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::completion;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::as_far_as_it_goes;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::route;

/// What an application gets: of one target and of two, as a stream and whole.
struct Row {
    name: &'static str,
    stream: Option<(Answer, [&'static str; 2])>,
    whole: Option<(Answer, [&'static str; 2])>,
}

const HELD_BACK: &str = "answer of beta/m";

fn send(text: impl Into<Bytes>) -> Step {
    Step::Send(text.into())
}

/// An event that says nothing yet.
fn role() -> Step {
    send(
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
         \"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\
         \"finish_reason\":null}]}\n\n",
    )
}

fn stream(steps: Vec<Step>) -> Answer {
    Answer::stream(steps)
}

fn json(steps: Vec<Step>) -> Answer {
    Answer::new(200, "application/json", steps)
}

fn row(
    name: &'static str,
    stream: (Answer, [&'static str; 2]),
    whole: (Answer, [&'static str; 2]),
) -> Row {
    Row { name, stream: Some(stream), whole: Some(whole) }
}

fn only_stream(name: &'static str, steps: Vec<Step>, got: [&'static str; 2]) -> Row {
    Row { name, stream: Some((stream(steps), got)), whole: None }
}

fn rows(closed: &Gate) -> Vec<Row> {
    let body = completion("hello");
    let half = || send(body.as_bytes()[..body.len() / 2].to_vec());
    let end = |steps: Vec<Step>| [steps, ending()].concat();
    let error = r#"{"error":{"message":"overloaded","type":"server_error"}}"#;
    let html = || vec![send("<html>hello</html>")];
    let pause = Duration::from_millis(40);
    let (broken, late) = (["502 provider_broken", HELD_BACK], ["504 provider_timeout", HELD_BACK]);
    // Only a stream has a limit of its own before its content; this is the whole request's.
    let too_late = ["504 provider_timeout"; 2];
    let cut = ["content, then an error event"; 2];
    let as_sent = ["as sent: no answer", HELD_BACK];
    vec![
        row("cut before headers", (Answer::hang_up(), broken), (Answer::hang_up(), broken)),
        row(
            "cut after headers",
            (stream(vec![Step::Cut]), broken),
            (json(vec![Step::Cut]), broken),
        ),
        only_stream("cut after its first event", vec![role(), Step::Cut], broken),
        row(
            "cut in its content",
            (stream(vec![role(), delta("a"), Step::Cut]), cut),
            (json(vec![half(), Step::Cut]), broken),
        ),
        row(
            "stalls before headers",
            (stream(vec![]).after(closed), late),
            (json(vec![]).after(closed), too_late),
        ),
        row(
            "stalls after headers",
            (stream(vec![Step::Hang]), late),
            (json(vec![Step::Hang]), too_late),
        ),
        only_stream("stalls after its first event", vec![role(), Step::Hang], late),
        row(
            "stalls in its content",
            (stream(vec![role(), delta("a"), Step::Hang]), cut),
            (json(vec![half(), Step::Hang]), too_late),
        ),
        row(
            "bad frame first",
            (stream(end(vec![send("data: {oops\n\n")])), ["a malformed event", HELD_BACK]),
            (json(vec![send("{oops")]), as_sent),
        ),
        only_stream(
            "bad frame in its content",
            end(vec![delta("a"), send("data: {oops\n\n")]),
            ["content, then a malformed event"; 2],
        ),
        only_stream("ends in its content", vec![delta("a")], cut),
        row(
            "error inside a 200",
            (stream(vec![send(format!("data: {error}\n\n"))]), ["an error event", HELD_BACK]),
            (json(vec![send(error)]), ["an error as sent", HELD_BACK]),
        ),
        row(
            "200 without a body",
            (stream(vec![]), ["an error event", HELD_BACK]),
            (json(vec![]), as_sent),
        ),
        row(
            "200 that says nothing",
            (stream(end(vec![role()])), ["an empty answer, as sent", HELD_BACK]),
            (json(vec![send(said_nothing())]), ["an empty answer, as sent", HELD_BACK]),
        ),
        only_stream("drips before its content", vec![role(), Step::Trickle(pause)], late),
        row(
            "drips in its content",
            (stream(vec![delta("a"), Step::Trickle(pause)]), cut),
            (json(vec![half(), Step::Repeat(" ".into(), pause)]), too_late),
        ),
        row(
            "never ends",
            (stream(vec![repeated("a")]), cut),
            (json(vec![send("{"), Step::Repeat(" ".repeat(100_000).into(), ms(5))]), {
                ["breaks off"; 2]
            }),
        ),
        row(
            "giant frame",
            (stream(end(vec![delta(&"y".repeat(9 << 20))])), ["a malformed event"; 2]),
            (Answer::saying(&"z".repeat(9 << 20)), ["answer of alpha/m"; 2]),
        ),
        row("redirect", (elsewhere(), broken), (elsewhere(), broken)),
        row(
            "wrong content type",
            (Answer::new(200, "text/html", html()), broken),
            (Answer::new(200, "text/html", html()), broken),
        ),
        row(
            "a stream asked for, a whole error sent",
            (json(vec![send(error)]), broken),
            (json(vec![send(error)]), ["an error as sent", HELD_BACK]),
        ),
        row(
            "500",
            (Answer::error(500), ["500 ", HELD_BACK]),
            (Answer::error(500), ["500 ", HELD_BACK]),
        ),
        row(
            "429 that asks for an hour",
            (Answer::error(429).header("retry-after", "3600"), ["429 ", HELD_BACK]),
            (Answer::error(429).header("retry-after", "3600"), ["429 ", HELD_BACK]),
        ),
        row("400", (Answer::error(400), ["400 "; 2]), (Answer::error(400), ["400 "; 2])),
    ]
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn repeated(text: &str) -> Step {
    let Step::Send(bytes) = delta(text) else { unreachable!() };
    Step::Repeat(bytes, ms(5))
}

fn elsewhere() -> Answer {
    Answer::new(302, "text/plain", vec![]).header("location", "http://127.0.0.1:9/v1")
}

fn said_nothing() -> String {
    completion("").replace("\"completion_tokens\":1", "\"completion_tokens\":0")
}

/// Limits short enough to be met, and one further call that nothing waits for.
fn impatient(providers: &[(&str, &Provider)]) -> Config {
    let mut config = config(providers);
    config.timeouts.first_token = ms(300);
    config.timeouts.idle = ms(200);
    config.timeouts.total = ms(1_500);
    config.limits.max_answer_bytes = 64 << 10;
    config.retry.attempts = 1;
    config.retry.backoff = ms(1);
    let route = |targets: &[&str]| {
        let targets: Vec<_> = targets.iter().map(|target| (*target, None)).collect();
        route(&config, &targets)
    };
    let (one, two) = (route(&["alpha/m"]), route(&["alpha/m", "beta/m"]));
    config.routes.insert("one".into(), one);
    config.routes.insert("two".into(), two);
    config
}

/// What an application gets of an answer, in a few words.
async fn got(answer: &Answer, model: &str, is_stream: bool) -> String {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    alpha.always(answer.clone());
    beta.always(match is_stream {
        true => Answer::stream([vec![role(), delta("good")], ending()].concat()),
        false => Answer::saying("good"),
    });
    let sidecar = Sidecar::start(impatient(&[("alpha", &alpha), ("beta", &beta)])).await;
    let (reply, broke) = as_far_as_it_goes(sidecar.chat(asking(model, "x", is_stream))).await;
    sidecar.stop().await;
    if broke.is_some() {
        return "breaks off".to_owned();
    }
    if reply.status != 200 {
        let code = reply.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
        return format!("{} {code}", reply.status);
    }
    let said = wire::fold(DialectName::OpenAi.dialect(), is_stream, [&reply.body[..]]);
    let target = reply.header("x-understudy-target");
    let has_content = !said.text().is_empty();
    let is_malformed = said.error.as_ref().is_some_and(|error| error.code.is_none() && said.done);
    match (&said.error, is_stream) {
        (None, _) if !said.is_whole() => "LOOKS COMPLETE AND IS NOT".to_owned(),
        (None, _) if !has_content => "an empty answer, as sent".to_owned(),
        (None, _) => format!("answer of {target}"),
        (Some(_), true) if is_malformed && has_content => "content, then a malformed event".into(),
        (Some(_), true) if has_content => "content, then an error event".to_owned(),
        (Some(_), true) if is_malformed => "a malformed event".to_owned(),
        (Some(_), true) => "an error event".to_owned(),
        (Some(error), false) if error.message == "overloaded" => "an error as sent".to_owned(),
        (Some(_), false) => "as sent: no answer".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_provider_does_wrong_the_application_is_told_or_gets_another_answer() {
    let closed = Gate::new();
    let mut wrong = Vec::new();
    println!(
        "| the provider | stream, one target | stream, two | whole, one target | whole, two |"
    );
    println!("|---|---|---|---|---|");
    for Row { name, stream, whole } in rows(&closed) {
        let mut cells = Vec::new();
        for (case, is_stream) in [(&stream, true), (&whole, false)] {
            let Some((answer, expected)) = case else {
                cells.extend(["-".to_owned(), "-".to_owned()]);
                continue;
            };
            let one = got(answer, "one", is_stream);
            let two = got(answer, "two", is_stream);
            let both: [String; 2] = tokio::join!(one, two).into();
            if both != *expected {
                wrong.push(format!("{name}, stream {is_stream}: {both:?}, not {expected:?}"));
            }
            cells.extend(both);
        }
        println!("| {name} | {} |", cells.join(" | "));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
