//! The report as a page: well-formed, complete, from nowhere else, and safe whatever it is told.

use std::collections::BTreeMap;

use serde_json::Value;
use understudy::experiment::Share;
use understudy::experiment::life::By;
use understudy::experiment::life::Event;
use understudy::page;
use understudy::page::Dossier;
use understudy::page::Line;
use understudy::page::Spread;
use understudy::series;
use understudy::stats::Histogram;

use super::reported;
use super::scores;
use super::share;
use super::trial;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::whole;

const HOSTILE: &str = "</title><script>alert(1)</script><img src=x onerror=\"alert(2)\">&amp;'`";

fn dossier(word: &str) -> Dossier {
    let mut trial = trial();
    trial.question = format!("question {word}");
    let scores = scores(250, 200, 238);
    let mut report = reported(&trial, &scores);
    report.warnings.push(format!("warning {word}"));
    report.control = format!("control {word}");
    report.summary.push_str(word);
    report.funnel.lost.insert(format!("lost {word}"), 3);
    let mut times = Histogram::default();
    (1..500).for_each(|ms| times.add(ms * 1000));
    let spread = |variant: &str| Spread::new(word, "s", 1e6, variant, "answers", times.clone());
    let paused = Event::Paused { by: By::Person, why: format!("why {word}") };
    Dossier {
        series: BTreeMap::from([("sonnet".to_owned(), series::series(&trial, &scores))]),
        spreads: vec![spread("control"), spread("sonnet"), spread(word)],
        log: vec![Line {
            seq: 1,
            at_ms: 1_790_000_000_000,
            event: paused,
            definition: "d".to_owned(),
            hash: "0123456789abcdef".to_owned(),
            checks: Vec::new(),
        }],
        report,
        made_ms: 1_790_000_000_000,
    }
}

/// Goes along the tags of a page as a strict reader would: every element that is opened is closed
/// in its order, every attribute is quoted, and no `<` or `&` stands alone.
fn well_formed(page: &str) -> Vec<String> {
    const EMPTY: [&str; 2] = ["meta", "br"];
    let (mut open, mut seen): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let body = page.strip_prefix("<!doctype html>\n").unwrap();
    let mut rest = body;
    while let Some(at) = rest.find('<') {
        let (text, from) = rest.split_at(at);
        assert!(!text.contains('>') || open.last().is_some_and(|tag| tag == "style"), "{text}");
        for reference in text.split('&').skip(1) {
            let name = reference.split(';').next().unwrap();
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "{text}");
        }
        let end = from.find('>').unwrap();
        let tag = &from[1..end];
        rest = &from[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed out of order");
            continue;
        }
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        seen.push(name.clone());
        if !tag.ends_with('/') && !EMPTY.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    seen
}

#[test]
fn a_page_is_well_formed_complete_and_from_nowhere_else() {
    let page = page::page(&dossier("plain"));
    let tags = well_formed(&page);
    for wanted in ["polygon", "polyline", "rect", "circle", "table", "svg", "pre", "title"] {
        let is_there = tags.iter().any(|tag| tag == wanted);
        assert!(is_there || wanted == "pre", "no {wanted}");
    }
    for heading in [
        "What to do next",
        "Win rate",
        "How the evidence narrowed",
        "Guardrails",
        "The judge and its audit",
        "Times, prices and lengths",
        "From requests to scores",
        "Decision record",
    ] {
        assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    for outside in ["http:", "https:", "//", "url(", "@import", "<script", "<link", "<img", "src="]
    {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    assert!(page.contains("default-src &#39;none&#39;"), "no policy");
}

#[test]
fn hostile_words_stay_words() {
    let page = page::page(&dossier(HOSTILE));
    let tags = well_formed(&page);
    assert!(tags.iter().all(|tag| tag != "script" && tag != "img"), "{tags:?}");
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;alert(1)"));
    let mut report = dossier(HOSTILE).report;
    report.experiment = HOSTILE.to_owned();
    let home = page::home(&[report]);
    well_formed(&home);
    assert!(home.contains("/api/v1/experiments/%3C%2Ftitle%3E%3Cscript"));
}

#[test]
fn a_page_without_anything_is_still_a_page() {
    let trial = trial();
    let dossier = Dossier {
        report: reported(&trial, &[]),
        series: BTreeMap::new(),
        spreads: Vec::new(),
        log: Vec::new(),
        made_ms: 0,
    };
    well_formed(&page::page(&dossier));
    well_formed(&page::home(&[]));
}

#[test]
fn a_series_ends_where_the_report_stands() {
    let trial = trial();
    let scores = scores(450, 200, 438);
    let points = series::series(&trial, &scores);
    let report = reported(&trial, &scores);
    let (last, view) = (points.last().unwrap(), &report.candidates["sonnet"]);
    assert!(points.len() <= 200 && points.windows(2).all(|two| two[0].pairs < two[1].pairs));
    assert_eq!(last.pairs, view.pairs);
    assert_eq!(Some(last.estimate), view.win_rate.estimate);
    assert_eq!((last.lower, last.upper), (view.win_rate.lower, view.win_rate.upper));
    assert!(series::series(&trial, &[]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_get_pages_and_others_what_they_had() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("yes"));
    let mut config = config(&[("alpha", &alpha)]);
    config.experiments = vec![experiment("alpha/m", "alpha/n", share(100), Share::NONE)];
    let sidecar = Sidecar::start(config).await;
    for number in 0..12 {
        sidecar.ask(asking("alpha/m", &format!("question {number}"), false)).await;
    }
    let get = async |path: &str, accept: &str| {
        let request = sidecar.client.get(format!("{}{path}", sidecar.admin));
        whole(request.header("accept", accept)).await
    };
    for accept in ["*/*", "text/plain"] {
        let index = get("/", accept).await;
        assert!(index.text().starts_with("understudy\n\n/livez"), "{}", index.text());
    }
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let home = get("/", browser).await;
    well_formed(&home.text());
    assert!(home.text().contains("/api/v1/experiments/trial/report.html"));
    let report = get("/api/v1/experiments/trial/report.html", browser).await;
    assert_eq!(report.status, 200);
    assert!(report.header("content-security-policy").starts_with("default-src 'none'"));
    well_formed(&report.text());
    // Prompts and answers are nobody's business.
    assert!(!report.text().contains("question 3"));
    let series: Value = get("/api/v1/experiments/trial/series", "*/*").await.json();
    assert!(series["candidates"]["next"].is_array(), "{series}");
    assert_eq!(get("/api/v1/experiments/no/report.html", browser).await.status, 404);
    sidecar.stop().await;
}
