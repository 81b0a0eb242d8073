//! What people say of pairs corrects the judge: on recorded judges with human labels, and through a
//! running sidecar.

mod live;

use std::fs::File;
use std::io::{BufRead, BufReader};

use fastrand::Rng;
use serde_json::Value;
use understudy::stats::corrected::Labelled;
use understudy::stats::grid::Grid;
use understudy::stats::mean::critical;
use understudy::stats::{Score, Verdict};
use understudy::tally::Tally;

use crate::evidence;
use crate::evidence::{facts, judged};
use crate::shared;

/// Pairs of a file with the score of a person and that of a judge.
struct Judged {
    name: String,
    pairs: Vec<(Score, Score)>,
}

fn score(winner: Option<&str>) -> Option<Score> {
    match winner? {
        "a" => Some(Score::LOSS),
        "b" => Some(Score::WIN),
        "tie" => Some(Score::TIE),
        _ => None,
    }
}

/// The judge's score: of both orders the mean, where both were asked.
fn machine(judge: &Value) -> Option<Score> {
    if judge.get("ab").is_none() {
        return score(judge["winner"].as_str());
    }
    let both = ["ab", "ba"].map(|order| score(judge[order]["winner"].as_str()));
    Some(both[0]?.mean(both[1]?))
}

fn recorded(file: &str, judge: &str) -> Option<Judged> {
    let path = shared::data("judge_human")?.join(format!("{file}.jsonl.gz"));
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(File::open(path).unwrap()));
    let pairs = lines.lines().filter_map(|line| {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let human = row["gold"].as_str().or_else(|| row["human_majority"].as_str());
        Some((score(human)?, machine(&row["judges"][judge])?))
    });
    Some(Judged { name: format!("{file}, {judge}"), pairs: pairs.collect() })
}

fn mean(scores: impl Iterator<Item = Score>) -> f64 {
    let all: Vec<f64> = scores.map(Score::value).collect();
    all.iter().sum::<f64>() / all.len() as f64
}

/// How often the corrected interval covers, how often one at a single look does, and how wide the
/// corrected one is beside that of the labels alone.
fn resample(judged: &Judged, labels: usize, pairs: usize, times: usize) -> (f64, f64, f64) {
    let truth = mean(judged.pairs.iter().map(|(human, _)| *human));
    let z = critical(&Grid::default(), labels as f64, 0.05);
    let (mut covered, mut at_one_look, mut ratio) = (0, 0, 0.0);
    let mut rng = Rng::with_seed(17);
    for _ in 0..times {
        let mut drawn = Labelled::default();
        let mut said = Vec::new();
        for number in 0..pairs {
            let (human, machine) = judged.pairs[rng.usize(0..judged.pairs.len())];
            if number < labels {
                drawn.add(human, machine);
                said.push(human.value());
            } else {
                drawn.add_unlabelled(machine);
            }
        }
        let corrected = drawn.corrected().unwrap();
        let holds = |lower: Option<f64>, upper: Option<f64>| {
            (lower.unwrap()..=upper.unwrap()).contains(&truth)
        };
        let (any, one) = (corrected.interval(0.05), corrected.at_one_look(0.05));
        covered += usize::from(holds(any.lower, any.upper));
        at_one_look += usize::from(holds(one.lower, one.upper));
        let alone = said.iter().sum::<f64>() / labels as f64;
        let spread = said.iter().map(|x| (x - alone).powi(2)).sum::<f64>() / labels as f64;
        let width = 2.0 * z * (spread / labels as f64).sqrt();
        ratio += (any.upper.unwrap() - any.lower.unwrap()) / width / times as f64;
    }
    (covered as f64 / times as f64, at_one_look as f64 / times as f64, ratio)
}

#[test]
fn a_hundred_labels_correct_any_judge_and_a_good_one_makes_them_worth_more() {
    println!("{:<40} {:>8} {:>8} {:>8}", "judge", "covers", "1 look", "width");
    for (file, judge, is_good) in [
        ("natural", "GPT-4/Vanilla", true),
        ("natural", "ChatGPT/Vanilla", false),
        ("gptinst", "GPT-4/Rating", true),
        ("gptinst", "ChatGPT/Vanilla", false),
        ("gptout", "GPT-4/Vanilla", true),
        ("mt_bench_human", "GPT-4/Vanilla_NoRules", true),
        ("mt_bench_human", "ChatGPT/Vanilla_NoRules", false),
        ("pandalm", "gpt-3.5-turbo", false),
        ("pandalm", "pandalm-7b", false),
    ] {
        let Some(judged) = recorded(file, judge) else { return };
        let (covers, one, width) = resample(&judged, 100, 800, 1000);
        println!("{:<40} {covers:>8.3} {one:>8.3} {width:>8.3}", judged.name);
        assert!(covers >= 0.95, "{}: {covers}", judged.name);
        assert!(one >= 0.93, "{}: {one}", judged.name);
        assert!(width <= 1.01 && (!is_good || width < 0.9), "{}: {width}", judged.name);
    }
}

/// The judge says the candidate is worse, people say it is better, and people are right.
#[test]
fn from_a_hundred_labels_on_the_verdict_is_that_of_people() {
    let experiment = evidence::experiment("goal: superior, max_pairs: 20000");
    let verdict = |labels: u64| {
        let mut rng = Rng::with_seed(3);
        let mut tally = Tally::default();
        for number in 0..3000 {
            let truth = if rng.f64() < 0.75 { Score::WIN } else { Score::LOSS };
            let judge = if rng.f64() < 0.5 { truth } else { Score::LOSS };
            tally.add(&judged(Some(judge), Some(judge), facts(number)), {
                (number % 10 == 0 && number / 10 < labels).then_some(truth)
            });
        }
        let report = evidence::report_of(&experiment, &tally, None);
        let view = &report.candidates["next"];
        (report.verdict, view.labels, view.corrected.map(|people| people.estimate))
    };
    assert_eq!(verdict(0), (Verdict::DoNotShip, 0, None));
    assert_eq!(verdict(99), (Verdict::DoNotShip, 99, None));
    let (said, labels, estimate) = verdict(300);
    assert_eq!((said, labels), (Verdict::Ship, 300));
    assert!((estimate.unwrap() - 0.75).abs() < 0.08, "{estimate:?}");
}
