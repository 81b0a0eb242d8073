//! Real judges' recorded replies to pairs that people labelled, in both orders, through a simulated
//! provider and the real judge: what we read of them is what was published of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use understudy::judge::pair::Pair;
use understudy::pair::Opinion;
use understudy::pair::Scored;
use understudy::stats::Score;
use understudy::store::Store;

use crate::process;
use crate::process::Provider;
use crate::process::Sidecar;
use crate::shared;

/// How long judging all of it may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// A pair, with everything that was recorded of it.
struct Row {
    set: String,
    prompt: String,
    /// `a`, `b` or `tie`, as people said.
    gold: String,
    row: Value,
}

impl Row {
    fn model(&self, side: &str) -> String {
        format!("{}-{side}", self.set)
    }
}

fn read(folder: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for set in ["natural", "gptinst", "gptout", "mt_bench_human", "pandalm"] {
        let file = fs::File::open(folder.join(format!("{set}.jsonl.gz"))).unwrap();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for line in BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines() {
            let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let part = |key: &str| row[key].as_str().unwrap_or_default().trim().to_owned();
            let prompt = format!("{}\n\n{}", part("instruction"), part("input")).trim().to_owned();
            let count = seen.entry(prompt.clone()).or_default();
            *count += 1;
            // A prompt makes one pair of an experiment, so each further one is told apart.
            let prompt = if *count > 1 { format!("{prompt}\n\n({count})") } else { prompt };
            let gold = row["gold"].as_str().or(row["human_majority"].as_str()).unwrap().to_owned();
            rows.push(Row { set: set.to_owned(), prompt, gold, row });
        }
    }
    rows
}

/// The rows as the simulator takes them.
fn answers(rows: &[Row]) -> String {
    let output = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        other => panic!("{other} is no output"),
    };
    let line = |row: &Row| {
        json!({
            "instruction": row.prompt,
            "model_a": row.model("a"), "output_a": output(&row.row["output_a"]),
            "model_b": row.model("b"), "output_b": output(&row.row["output_b"]),
            "judges": row.row["judges"],
        })
        .to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All recorded judges of a set as one panel.
fn definition(row: &Row) -> Value {
    let target = |model: &str| format!("recorded/{model}");
    let judge = |name: &String| match row.set.as_str() {
        // Only what these said and why is recorded, which is what our own form asks for.
        "pandalm" => json!({"target": target(name), "reasons": true}),
        _ => json!({"target": target(name), "verdict": "words"}),
    };
    let judges: Vec<Value> = row.row["judges"].as_object().unwrap().keys().map(judge).collect();
    json!({
        "experiment": row.set,
        "match": {"route": target(&row.model("a"))},
        "control": {"target": target(&row.model("a"))},
        "candidates": {"b": {"target": target(&row.model("b"))}},
        "traffic": {"shadow": 1},
        "evaluate": {"comparators": [], "judge": judges, "quorum": 1},
        "decide": {"min_pairs": 20_000, "max_pairs": 20_000},
    })
}

/// Asks every prompt, and returns once every pair has an outcome.
async fn judge(rows: &[Row], dir: &Path) {
    fs::write(dir.join("rows.jsonl"), answers(rows)).unwrap();
    let provider = Provider::start(dir, ["--answers", "rows.jsonl"]).await;
    let config = json!({
        "providers": {"recorded": {"base_url": provider.base_url}},
        "limits": {"judge_concurrency": 8},
    });
    fs::write(dir.join("understudy.yaml"), config.to_string()).unwrap();
    fs::create_dir(dir.join("experiments")).unwrap();
    let mut names = BTreeMap::new();
    for row in rows {
        let name = row.set.clone();
        if names.insert(name.clone(), ()).is_none() {
            let path = dir.join(format!("experiments/{name}.json"));
            fs::write(path, definition(row).to_string()).unwrap();
        }
    }
    let client = process::client();
    let mut sidecar = Sidecar::start(dir, "serve.log", &client, []).await;
    for row in rows {
        let body = json!({
            "model": format!("recorded/{}", row.model("a")),
            "messages": [{"role": "user", "content": row.prompt}],
        });
        let url = format!("http://{}/v1/chat/completions", sidecar.listen);
        let request = client.post(url).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{status} {}", answer.text().await.unwrap());
    }
    let began = Instant::now();
    loop {
        let mut settled = 0;
        for name in names.keys() {
            let url = format!("http://{}/api/v1/experiments/{name}", sidecar.admin);
            let report = client.get(url).send().await.unwrap().bytes().await.unwrap();
            let report: Value = serde_json::from_slice(&report).unwrap();
            let view = &report["candidates"]["b"];
            let without = view["unjudged"].as_object().unwrap().values();
            settled += view["pairs"].as_u64().unwrap();
            settled += without.map(|n| n.as_u64().unwrap()).sum::<u64>();
        }
        if settled == rows.len() as u64 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{settled} settled\n{}", sidecar.process.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(sidecar.process.terminate().await.success());
}

/// Every score with its row.
fn scores<'r>(rows: &'r [Row], store: &Store) -> Vec<(&'r Row, Scored)> {
    let mut by_prompt: BTreeMap<(String, String), &Row> = BTreeMap::new();
    for row in rows {
        by_prompt.insert((row.set.clone(), row.prompt.clone()), row);
    }
    let mut found = Vec::new();
    let names: std::collections::BTreeSet<String> =
        rows.iter().map(|row| row.set.clone()).collect();
    for name in names {
        for (id, scored) in store.scores(&name, "b").unwrap() {
            let pair = Pair::read(store, id, "b").unwrap();
            let row = by_prompt[&(name.clone(), pair.turns[0].text.clone())];
            found.push((row, scored));
        }
    }
    found
}

/// What one judge said of a pair: with output a shown first, and with b shown first.
#[derive(Clone, Copy, Debug)]
struct Heard<'r> {
    gold: &'r str,
    ab: Option<&'static str>,
    ba: Option<&'static str>,
}

fn winner(score: Option<Score>) -> Option<&'static str> {
    score.map(|score| match score {
        Score::LOSS => "a",
        Score::WIN => "b",
        Score::TIE => "tie",
        other => panic!("{other:?} is no verdict"),
    })
}

fn heard<'r>(scores: &[(&'r Row, Scored)], set: &str, judge: &str) -> Vec<Heard<'r>> {
    let name = format!("recorded/{judge}");
    let of = |(row, scored): &(&'r Row, Scored)| {
        let said = scored.facts.panel.iter().find(|opinion| opinion.judge == name)?;
        let Opinion { control_first, candidate_first, .. } = said;
        let gold = row.gold.as_str();
        Some(Heard { gold, ab: winner(*control_first), ba: winner(*candidate_first) })
    };
    scores.iter().filter(|(row, _)| row.set == set).filter_map(of).collect()
}

/// How often which verdict of one order met which of the other.
type Table = [[u32; 2]; 2];

/// Cohen's kappa.
fn kappa(table: &Table) -> f64 {
    let n = f64::from(table.iter().flatten().sum::<u32>());
    let row = |at: usize| f64::from(table[at].iter().sum::<u32>());
    let column = |at: usize| f64::from(table.iter().map(|row| row[at]).sum::<u32>());
    let agreed = f64::from(table[0][0] + table[1][1]) / n;
    let chance = (row(0) * column(0) + row(1) * column(1)) / (n * n);
    (agreed - chance) / (1.0 - chance)
}

/// Whether kappa is `wanted` for some verdicts in the places of those that are missing: those who
/// published it drew them by chance.
fn may_be(table: Table, missing: &[Heard<'_>], wanted: f64) -> bool {
    let Some((first, rest)) = missing.split_first() else {
        return (kappa(&table) - wanted).abs() < 1e-9;
    };
    let any =
        |verdict: Option<&'static str>| verdict.map_or(vec!["a", "b"], |verdict| vec![verdict]);
    let place = |verdict: &str| usize::from(verdict == "b");
    any(first.ab).into_iter().any(|ab| {
        any(first.ba).into_iter().any(|ba| {
            let mut table = table;
            table[place(ab)][place(ba)] += 1;
            may_be(table, rest, wanted)
        })
    })
}

/// Their kappa of gold labels and verdicts; `None` where a verdict is missing, for which they drew one.
///
/// They wrote 2 for a second answer that is gold and 0 for one that is preferred, so only firsts
/// are ever agreed on, and the rest of each side is a class of its own.
fn kappa_with_gold(golds_and_verdicts: &[(&str, Option<&str>)]) -> Option<f64> {
    let n = golds_and_verdicts.len() as f64;
    let share = |holds: &dyn Fn(&str, &str) -> bool| {
        let mut hits = 0.0;
        for (gold, verdict) in golds_and_verdicts {
            hits += f64::from(u8::from(holds(gold, (*verdict)?)));
        }
        Some(hits / n)
    };
    let agreed = share(&|gold, verdict| gold == "a" && verdict == "a")?;
    let chance = share(&|gold, _| gold == "a")? * share(&|_, verdict| verdict == "a")?;
    Some((agreed - chance) / (1.0 - chance))
}

fn percent(heard: &[Heard<'_>], holds: impl Fn(&Heard<'_>) -> bool) -> f64 {
    100.0 * heard.iter().filter(|h| holds(h)).count() as f64 / heard.len() as f64
}

/// Checks one judge of a set that was asked in both orders; gives a line of the table.
fn check(heard: &[Heard<'_>], published: &Value, name: &str) -> String {
    let number = |key: &str| published[key].as_f64().unwrap();
    let near = |found: f64, key: &str| {
        assert!((found - number(key)).abs() < 1e-9, "{name} {key}: {found}, {published}");
    };
    assert_eq!(heard.len() as u64, published["n"].as_u64().unwrap(), "{name}");
    let (ab, ba) =
        (percent(heard, |h| h.ab == Some(h.gold)), percent(heard, |h| h.ba == Some(h.gold)));
    near(ab, "accuracy_ab");
    near(ba, "accuracy_ba");
    let same = percent(heard, |h| h.ab == h.ba);
    near(same, "same_verdict_in_both_orders");
    near(percent(heard, |h| h.ab == Some(h.gold) && h.ba == h.ab), "correct_in_both_orders");
    let (whole, missing): (Vec<Heard<'_>>, Vec<Heard<'_>>) =
        heard.iter().partition(|h| h.ab.is_some() && h.ba.is_some());
    let mut table = Table::default();
    let place = |verdict: Option<&str>| usize::from(verdict == Some("b"));
    whole.iter().for_each(|h| table[place(h.ab)][place(h.ba)] += 1);
    let agreement = published["published"]["kappa_agreement"].as_f64().unwrap();
    assert!(may_be(table, &missing, agreement), "{name}: {table:?}, {agreement}");
    let firsts: Vec<_> = heard.iter().map(|h| (h.gold, h.ab)).collect();
    let seconds: Vec<_> = heard.iter().map(|h| (h.gold, h.ba)).collect();
    for (key, pairs) in [("kappa_False", firsts), ("kappa_True", seconds)] {
        let wanted = published["published"][key].as_f64().unwrap();
        let found = kappa_with_gold(&pairs);
        assert!(found.is_none_or(|found| (found - wanted).abs() < 1e-9), "{name} {key}: {found:?}");
    }
    let (own, missing) = (kappa(&table), missing.len());
    format!(
        "{name:<40} {:>4} {ab:>6.1} {ba:>6.1} {same:>6.1} {own:>7.4} {agreement:>7.4} {missing:>4}",
        heard.len()
    )
}

#[tokio::test]
async fn recorded_judges_measure_as_published() {
    let Some(folder) = shared::data("judge_human") else { return };
    let rows = read(&folder);
    let dir = TempDir::new().unwrap();
    judge(&rows, dir.path()).await;
    let store = Store::open(&dir.path().join("data")).unwrap().store;
    let scores = scores(&rows, &store);
    assert_eq!(scores.len(), rows.len());
    let summary: Value =
        serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
    println!(
        "{:<40} {:>4} {:>6} {:>6} {:>6} {:>7} {:>7} {:>4}",
        "judge", "n", "ab %", "ba %", "same %", "kappa", "publ.", "none"
    );
    for set in ["natural", "gptinst", "gptout", "mt_bench_human"] {
        for (judge, published) in summary[set]["judges"].as_object().unwrap() {
            let heard = heard(&scores, set, judge);
            println!("{}", check(&heard, published, &format!("{set} {judge}")));
        }
    }
    for (judge, accuracy) in summary["pandalm"]["accuracy_vs_majority"].as_object().unwrap() {
        check_once(&scores, judge, accuracy.as_f64().unwrap());
    }
}

/// A judge that was asked in one order, with its reasons. A reason that names the other answer is
/// a contradiction to us, and was a verdict to them.
fn check_once(scores: &[(&Row, Scored)], judge: &str, accuracy: f64) {
    let heard = heard(scores, "pandalm", judge);
    let rows = scores.iter().filter(|(row, _)| row.set == "pandalm");
    let recorded = |row: &&Row| row.row["judges"][judge]["winner"].as_str().unwrap().to_owned();
    let (mut right, mut contradictions, mut unreadable) = (0, 0, 0);
    for ((row, _), heard) in rows.zip(&heard) {
        let recorded = recorded(row);
        right += usize::from(recorded == row.gold);
        assert_eq!(heard.ab, heard.ba, "the same reply in both orders");
        match heard.ab {
            Some(winner) => assert_eq!(winner, recorded),
            None if recorded == "garbage" => unreadable += 1,
            None => contradictions += 1,
        }
    }
    println!(
        "pandalm {judge}: {right} right of {}, {unreadable} unreadable, {contradictions} \
         contradictions",
        heard.len()
    );
    assert!((right as f64 / heard.len() as f64 - accuracy).abs() < 1e-9);
    assert!(contradictions <= 2, "{contradictions}");
}
