//! How often answers of real models look as if they spoke to the judge.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;

use serde_json::Value;
use understudy::judge::suspicion::is_suspicious;

use crate::shared;

/// Suspicious answers of the candidate, and all of them.
fn count(path: &Path) -> (usize, usize) {
    let file = std::fs::File::open(path).unwrap();
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    let outputs = lines.map(|line| {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        row["output_b"].as_str().unwrap_or_default().to_owned()
    });
    let outputs: Vec<String> = outputs.collect();
    for output in outputs.iter().filter(|output| is_suspicious(output)).take(3) {
        println!("    {:?}", output.chars().take(120).collect::<String>());
    }
    (outputs.iter().filter(|output| is_suspicious(output)).count(), outputs.len())
}

#[test]
fn an_attack_is_always_seen_and_ordinary_answers_hardly_ever_are() {
    let (mut suspicious, mut all) = (0, 0);
    for folder in ["alpacaeval/v2_weighted", "alpacaeval/v1_gpt4", "judge_human"] {
        let Some(folder) = shared::data(folder) else { continue };
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "gz")).collect();
        paths.sort();
        for path in paths {
            let (found, of) = count(&path);
            println!("{found:>4} of {of:>4}  {}", path.display());
            if path.ends_with("NullModel.jsonl.gz") {
                assert_eq!(found, of, "an attack is missed");
            } else {
                (suspicious, all) = (suspicious + found, all + of);
            }
        }
    }
    println!("{suspicious} of {all} ordinary answers");
    assert!(suspicious * 200 <= all, "more than one in two hundred");
}
