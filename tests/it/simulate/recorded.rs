//! Recorded answers and verdicts, from real files where they are at hand.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use understudy::simulate::{Answers, Settings};

use super::{Bench, question, second_better, with};

struct Row {
    instruction: String,
    model: [String; 2],
    output: [String; 2],
    preference: Option<f64>,
}

/// The folder of real recordings; `None`, with a line printed, when it is not there.
fn recordings() -> Option<PathBuf> {
    let shared = std::env::var_os("UNDERSTUDY_SHARED").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = shared.unwrap_or_else(beside).join("data/alpacaeval");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no recordings at {}", folder.display());
    None
}

fn rows(path: &Path) -> Vec<Row> {
    let file = std::fs::File::open(path).unwrap();
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    let row = |line: String| {
        let row: Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        Row {
            instruction: text("instruction"),
            model: [text("model_a"), text("model_b")],
            output: [text("output_a"), text("output_b")],
            preference: row["judge"]["preference"].as_f64(),
        }
    };
    lines.map(|line| row(line.unwrap())).collect()
}

async fn bench(paths: &[PathBuf]) -> Bench {
    let answers = Some(Arc::new(Answers::load(paths).unwrap()));
    Bench::start(Settings { answers, ..Settings::default() }).await
}

fn templates(instruction: &str, first: &str, second: &str) -> [String; 3] {
    [
        format!(
            "<<<question 1f>>>\n{instruction}\n<<<end 1f>>>\n<<<answer A 1f>>>\n{first}\n\
             <<<end 1f>>>\n<<<answer B 1f>>>\n{second}\n<<<end 1f>>>\nSay A, B or C."
        ),
        format!(
            "I want you to rank two answers, 1 and 2.\n\n[\n {{\"prompt\": \"\"\"{instruction}\"\"\"}},\n \
             {{\"name\": \"m\", \"output\": \"\"\"{first}\"\"\"}},\n \
             {{\"name\": \"M\", \"output\": \"\"\"{second}\"\"\"}}\n]\n\nYes or No, which is best?"
        ),
        format!(
            "# Response 1\n{}\n\n# Response 2\n{}\n\n# Asked\n{}\n\nThe best is the",
            first.trim(),
            second.trim(),
            instruction.trim()
        ),
    ]
}

async fn check_verdict(bench: &Bench, prompt: &str, expected: Option<f64>) {
    let more = json!({"logprobs": true, "top_logprobs": 5, "max_tokens": 1, "temperature": 0});
    let body = with(question("gpt-4-judge", prompt), more);
    let answer = bench.ask(&body).await.json();
    let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
    let Some(expected) = expected else {
        assert!(!["A", "B", "C"].contains(&said), "{prompt}");
        return;
    };
    let got = second_better(&answer);
    assert!((got - expected).abs() < 1e-9, "{got}, not {expected}, for {prompt}");
    let letter = if expected > 0.5 {
        "B"
    } else if expected < 0.5 {
        "A"
    } else {
        "C"
    };
    assert_eq!(said, letter);
}

/// Every row of a file: both outputs verbatim, and the verdict in both orders.
async fn check_file(bench: &Bench, rows: &[Row], template: usize) {
    for row in rows {
        for (model, output) in row.model.iter().zip(&row.output) {
            assert_eq!(bench.ask(&question(model, &row.instruction)).await.text(), *output);
        }
        let [a, b] = &row.output;
        let b_better = row.preference.map(|p| if p == 0.0 { 0.5 } else { p - 1.0 });
        let [forth, back] = [(a, b), (b, a)]
            .map(|(first, second)| templates(&row.instruction, first, second)[template].clone());
        check_verdict(bench, &forth, b_better).await;
        check_verdict(bench, &back, b_better.map(|p| 1.0 - p)).await;
    }
}

#[tokio::test]
async fn every_row_of_the_v2_files_is_answered_verbatim_and_judged_as_recorded() {
    let Some(folder) = recordings() else { return };
    let names = ["NullModel", "alpaca-7b", "gpt-3.5-turbo-0301", "FuseChat-Llama-3.2-3B-Instruct"];
    let paths = names.map(|name| folder.join(format!("v2_weighted/{name}.jsonl.gz")));
    let bench = bench(&paths).await;
    for (number, path) in paths.iter().enumerate() {
        let rows = rows(path);
        assert_eq!(rows.len(), 805);
        check_file(&bench, &rows, number % 3).await;
    }
    let counts = bench.simulator.counters();
    assert_eq!((counts.recorded, counts.judged), (4 * 805 * 2, 4 * 805 * 2));
}

#[tokio::test]
async fn every_row_of_the_v1_files_is_answered_verbatim_and_judged_as_recorded() {
    let Some(folder) = recordings() else { return };
    let names = ["minichat-3b", "alpaca-7b", "gpt4"];
    let paths = names.map(|name| folder.join(format!("v1_gpt4/{name}.jsonl.gz")));
    let bench = bench(&paths).await;
    for (number, path) in paths.iter().enumerate() {
        check_file(&bench, &rows(path), number % 3).await;
    }
}

fn own_rows() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let long = "A long answer, streamed.\n\n".repeat(40);
    for (instruction, a, b, preference) in [
        ("Name a planet, any.", "Mars\n", "Venus", json!(1.25)),
        ("Tell me a long story.", "Once.", long.as_str(), json!(2)),
        ("Say it so nobody can parse.", "hm", "mh", Value::Null),
    ] {
        let row = json!({"instruction": instruction, "model_a": "old", "output_a": a,
            "model_b": "new", "output_b": b, "judge": {"annotator": "j", "preference": preference}});
        writeln!(file, "{row}").unwrap();
    }
    let row = json!({"instruction": "Only third says this.", "model_a": "old", "output_a": "x",
        "model_b": "third", "output_b": "y", "judge": {"annotator": "j", "preference": 1.5}});
    writeln!(file, "{row}").unwrap();
    file
}

#[tokio::test]
async fn a_recorded_answer_is_streamed_verbatim_and_whole() {
    let file = own_rows();
    let bench = bench(&[file.path().to_owned()]).await;
    let body = with(question("new", "Tell me a long story."), json!({"max_tokens": 3}));
    let whole = bench.ask(&body).await.text();
    assert_eq!(whole, "A long answer, streamed.\n\n".repeat(40));
    let streamed = bench.ask(&with(body, json!({"stream": true}))).await;
    assert_eq!(streamed.streamed_text(), whole);
    assert!(streamed.chunks().len() > 100);
}

#[tokio::test]
async fn a_recorded_model_never_invents_an_answer() {
    let file = own_rows();
    let bench = bench(&[file.path().to_owned()]).await;
    for (model, text) in [("third", "Name a planet, any."), ("old", "Something else?")] {
        let answer = bench.ask(&question(model, text)).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (404, &json!("no_recorded_answer")));
        assert!(error["message"].as_str().unwrap().contains(model));
    }
    let made_up = bench.ask(&question("unheard-of", "Something else?")).await;
    assert_eq!(made_up.status, 200);
}

#[tokio::test]
async fn a_certain_verdict_and_one_in_json_carry_their_log_probabilities() {
    let file = own_rows();
    let bench = bench(&[file.path().to_owned()]).await;
    let long = "A long answer, streamed.\n\n".repeat(40);
    let [prompt, ..] = templates("Tell me a long story.", &long, "Once.");
    let logprobs = json!({"logprobs": true, "top_logprobs": 5});
    let answer = bench.ask(&with(question("judge", &prompt), logprobs.clone())).await.json();
    let token = &answer["choices"][0]["logprobs"]["content"][0];
    assert_eq!((&token["token"], &token["logprob"]), (&json!("A"), &json!(0.0)));
    assert_eq!(token["top_logprobs"][1]["token"], "B");
    assert_eq!(token["top_logprobs"][1]["logprob"], -9999.0);

    let [prompt, ..] = templates("Name a planet, any.", "Mars\n", "Venus");
    let format = json!({"response_format": {"type": "json_object"}});
    let body = with(with(question("judge", &prompt), logprobs), format);
    let answer = bench.ask(&body).await.json();
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(content, "{\"verdict\":\"A\"}");
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.iter().map(|t| t["token"].as_str().unwrap()).collect::<String>(), content);
    let verdict = tokens.iter().find(|t| t["token"] == "A").unwrap();
    let b = &verdict["top_logprobs"][1];
    assert!((b["logprob"].as_f64().unwrap() - 0.25_f64.ln()).abs() < 1e-12, "{verdict}");
}

#[tokio::test]
async fn a_judge_that_was_not_parsed_stays_unparseable() {
    let file = own_rows();
    let bench = bench(&[file.path().to_owned()]).await;
    for prompt in templates("Say it so nobody can parse.", "hm", "mh") {
        check_verdict(&bench, &prompt, None).await;
    }
}

#[test]
fn files_that_are_not_recordings_are_refused_with_file_and_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "\n{{\"instruction\": \"x\"}}").unwrap();
    let error = Answers::load(&[file.path()]).err().unwrap().to_string();
    assert!(error.contains("line 2") && error.contains("model_a"), "{error}");
    assert!(Answers::load(&[Path::new("no/such/file.jsonl")]).is_err());
}
