//! The statistics against independent reference values, published tables, and simulation.

mod arms;
mod exact;
mod guard;
mod guarded;
mod judged;
mod power;

use flate2::read::GzDecoder;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{collection, prop_assert, prop_assert_eq};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use understudy::stats::betting::{self, Level};
use understudy::stats::grid::Grid;
use understudy::stats::plan::{self, Effect};
use understudy::stats::rule::{RULES, Rule, rule_for};
use understudy::stats::srm;
use understudy::stats::{Bounds, Decision, Goal, Interval, Reason, Score, Spec, Verdict, WinRate};

use guarded::{Cause, Guardrail};

/// A file handed out beside the project, or `None`, and a printed line, where there is none.
fn shared(path: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("UNDERSTUDY_SHARED").map_or(beside, PathBuf::from).join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

// Reference vectors.

/// What this crate answers to a vector's input, in the shape of the vector's expected output, or
/// `None` if the case needs something that is not built.
type Answer = fn(&Value) -> Option<Value>;

const FAMILIES: &[(&str, Answer)] = &[
    ("asymp_cs", judged::asymp_cs),
    ("asymp_cs_two_sample", judged::asymp_cs_two_sample),
    ("bounded_cs", bounded_cs),
    ("bounded_log_k", bounded_log_k),
    ("cluster_ratio", judged::cluster_ratio),
    ("cuped", judged::cuped),
    ("dd_quantile", arms::dd_quantile),
    ("decision", decision),
    ("e_bh", judged::e_bh),
    ("fixed_n", fixed_n),
    ("gauss_log_e", arms::gauss_log_e),
    ("gauss_z", arms::gauss_z),
    ("holm", judged::holm),
    ("kappa", judged::kappa),
    ("length_control", judged::length_control),
    ("log_bucket", arms::log_bucket),
    ("log_grid", log_grid),
    ("mean_diff", arms::mean_diff),
    ("merge_moments", arms::merge_moments),
    ("merge_power_sums", arms::merge_power_sums),
    ("paired_mean", judged::paired_mean),
    ("plan_gauss", judged::plan_gauss),
    ("plan_pairs", plan_pairs),
    ("position_bias", judged::position_bias),
    ("ppi_mean", judged::ppi_mean),
    ("quantile_cs", arms::quantile_cs),
    ("quantile_ranks", arms::quantile_ranks),
    ("quantile_ratio_cs", arms::quantile_ratio_cs),
    ("srm_chi2", srm_chi2),
    ("srm_seq", srm_seq),
    ("two_prop_cs", arms::two_prop_cs),
    ("two_prop_log_e", arms::two_prop_log_e),
];

#[test]
fn reference_vectors_are_reproduced() {
    let Some(path) = shared("data/stats/vectors_public.json") else { return };
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut ran: BTreeMap<&str, usize> = FAMILIES.iter().map(|(name, _)| (*name, 0)).collect();
    for case in file["cases"].as_array().unwrap() {
        let family = case["family"].as_str().unwrap();
        let known = FAMILIES.iter().find(|(name, _)| *name == family);
        let (name, answer) = known.unwrap_or_else(|| panic!("no answer to family {family}"));
        let got = answer(&case["input"]).unwrap_or_else(|| panic!("no answer to {}", case["id"]));
        check(case, "", &got, &case["expected"]);
        *ran.get_mut(name).unwrap() += 1;
    }
    println!("reference vectors: {ran:?}");
    for (family, count) in ran {
        assert!(count > 0, "no vector of {family} ran");
    }
}

fn check(case: &Value, at: &str, got: &Value, expected: &Value) {
    let id = &case["id"];
    match expected {
        Value::Object(fields) => {
            for (name, value) in fields {
                check(case, &format!("{at}.{name}"), &got[name], value);
            }
        }
        Value::Array(items) => {
            assert_eq!(got.as_array().unwrap().len(), items.len(), "{id}{at}");
            for (index, value) in items.iter().enumerate() {
                check(case, &format!("{at}[{index}]"), &got[index], value);
            }
        }
        Value::Number(number) => {
            let expected = number.as_f64().unwrap();
            let relative = case["tol_rel"].as_f64().unwrap_or(0.0) * expected.abs();
            let tolerance = case["tol"].as_f64().unwrap().max(relative);
            let got = got.as_f64().unwrap_or(f64::NAN);
            assert!((got - expected).abs() <= tolerance, "{id}{at}: {got}, not {expected}");
        }
        _ => assert_eq!(got, expected, "{id}{at}"),
    }
}

fn log_grid(input: &Value) -> Option<Value> {
    let nodes = input["J"].as_u64()? as usize;
    let grid = Grid::new(nodes, input["s_top"].as_f64()?, input["s0"].as_f64()?);
    Some(json!({ "s": grid.effects(), "w": grid.weights().collect::<Vec<_>>() }))
}

fn bounded_log_k(input: &Value) -> Option<Value> {
    let (grid, levels, null) = (Grid::default(), levels(input), input["m"].as_f64()?);
    Some(json!({
        "log_k_pos": betting::ln_capital_above(&grid, &levels, null),
        "log_k_neg": betting::ln_capital_below(&grid, &levels, null),
    }))
}

fn bounded_cs(input: &Value) -> Option<Value> {
    let levels = levels(input);
    let count: u64 = levels.iter().map(|level| level.count).sum();
    let total: f64 = levels.iter().map(|level| level.value * level.count as f64).sum();
    let cs = betting::interval(&Grid::default(), &levels, &levels, input["alpha"].as_f64()?);
    Some(json!({ "lower": cs.lower, "upper": cs.upper, "mean": total / count as f64 }))
}

fn levels(input: &Value) -> Vec<Level> {
    let values = input["values"].as_array().unwrap().iter();
    let counts = input["counts"].as_array().unwrap().iter();
    values
        .zip(counts)
        .map(|(value, count)| Level {
            value: value.as_f64().unwrap(),
            count: count.as_u64().unwrap(),
        })
        .collect()
}

fn decision(input: &Value) -> Option<Value> {
    let number = |name: &str| input[name].as_f64();
    let goal = match input["goal"].as_str() {
        None | Some("superiority") => Goal::Superior,
        Some("non_inferiority") => Goal::NonInferior,
        Some(_) => return None,
    };
    let margin = if goal == Goal::Superior { "rope" } else { "ni_margin" };
    let mut spec = Spec { alpha: number("alpha")?, ..Spec::new(goal) };
    spec.margin = number(margin).unwrap_or(spec.margin);
    spec.min_pairs = input["min_pairs"].as_u64().unwrap_or(spec.min_pairs);
    spec.max_pairs = input["max_pairs"].as_u64().unwrap_or(spec.max_pairs);
    let rails = input["guardrails"].as_array().cloned().unwrap_or_default();
    let rail = |rail: &Value| Guardrail {
        harm: Bounds { lower: rail["lower"].as_f64(), upper: rail["upper"].as_f64() },
        alarm: rail["stop_lower"].as_f64(),
        margin: rail["margin"].as_f64().unwrap(),
    };
    let limits: Vec<Guardrail> = rails.iter().map(rail).collect();
    let summary = summary(levels(input).iter().map(|level| (level.value, level.count)));
    let (verdict, cause) =
        guarded::guarded(rule_for(goal), (&summary, &spec), split_alarms(input)?, &limits);
    let name = |index: usize| rails[index]["name"].as_str().unwrap();
    let reason = match cause {
        Cause::SampleRatioMismatch => "sample_ratio_mismatch".to_owned(),
        Cause::Violated(index) => format!("guardrail_violated:{}", name(index)),
        Cause::Unresolved(index) => format!("guardrail_unresolved:{}", name(index)),
        Cause::Rule(reason) => their_reason(reason).to_owned(),
    };
    let Interval { lower, upper } = summary.interval(spec.alpha);
    let verdict = their_verdict(verdict);
    Some(json!({ "lower": lower, "upper": upper, "decision": verdict, "reason": reason }))
}

/// The alarm, however the case states it; `None` for a field that nobody knows.
fn split_alarms(input: &Value) -> Option<bool> {
    let known = "values counts alpha guardrails goal ni_margin rope min_pairs max_pairs";
    let others = input.as_object()?.iter().filter(|(name, _)| !known.contains(name.as_str()));
    let mut alarms = false;
    for (name, value) in others {
        alarms |= match value {
            _ if !name.starts_with("srm") => return None,
            Value::Null => false,
            Value::Bool(alarms) => *alarms,
            Value::Number(e) if name.contains("log") => e.as_f64()? >= srm::ALARM.ln(),
            Value::Number(e) => e.as_f64()? >= srm::ALARM,
            split => srm::sample_ratio(&counts(split), &probs(split), 10_000.0)?.alarms(),
        };
    }
    Some(alarms)
}

fn their_verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ship => "promote",
        Verdict::DoNotShip => "keep_control",
        Verdict::Equivalent => "equivalent",
        Verdict::KeepRunning => "keep_collecting",
        Verdict::Review => "invalid",
    }
}

fn their_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::TooFewPairs => "min_pairs",
        Reason::CandidateWorse => "candidate_worse",
        Reason::CandidateBetter => "candidate_better",
        Reason::NotWorse => "candidate_not_worse",
        Reason::WithinMargin => "within_rope",
        Reason::BudgetExhausted => "budget_exhausted",
        Reason::Collecting => "undecided",
    }
}

fn srm_seq(input: &Value) -> Option<Value> {
    let concentration = input["concentration"].as_f64()?;
    let got = srm::sample_ratio(&counts(input), &probs(input), concentration)?;
    Some(json!({ "log_e": got.ln_e, "p": got.p }))
}

fn srm_chi2(input: &Value) -> Option<Value> {
    let got = srm::sample_ratio(&counts(input), &probs(input), srm::CONCENTRATION)?;
    Some(json!({ "chi2": got.chi_square, "p": got.chi_square_p }))
}

fn counts(input: &Value) -> Vec<u64> {
    serde_json::from_value(input["counts"].clone()).unwrap()
}

fn probs(input: &Value) -> Vec<f64> {
    serde_json::from_value(input["probs"].clone()).unwrap()
}

fn plan_pairs(input: &Value) -> Option<Value> {
    let (null, delta) = (input["m0"].as_f64()?, input["delta"].as_f64()?);
    let effect = Effect { null, delta, sd: input["sigma"].as_f64()? };
    let plan = plan::plan_pairs(&effect, input["alpha"].as_f64()?);
    Some(json!({ "n50": plan.map(|plan| plan.n50), "n80": plan.map(|plan| plan.n80) }))
}

fn fixed_n(input: &Value) -> Option<Value> {
    let number = |name: &str| input[name].as_f64();
    Some(json!({ "n": plan::fixed_pairs(number("theta")?, number("alpha")?, number("power")?) }))
}

// Published tables.

#[test]
fn published_win_rates_and_standard_errors_are_reproduced() {
    for name in ["prefs_matrix_v1", "prefs_matrix_v2"] {
        let Some(path) = shared(&format!("data/alpacaeval/{name}.jsonl.gz")) else { return };
        let mut rows = String::new();
        GzDecoder::new(File::open(&path).unwrap()).read_to_string(&mut rows).unwrap();
        let table = path.with_file_name(format!("{name}.leaderboard.json"));
        let table: Value = serde_json::from_slice(&fs::read(table).unwrap()).unwrap();
        let summaries = preferences(&rows);
        for (model, summary) in &summaries {
            let published = &table[model]["published"];
            let got = json!({
                "n_total": summary.pairs(),
                "n_wins": summary.wins(),
                "n_wins_base": summary.losses(),
                "n_draws": summary.ties(),
                "win_rate": summary.estimate().unwrap() * 100.0,
                "standard_error": summary.standard_error().unwrap() * 100.0,
            });
            // Scores are kept to nine decimals, percentages are a hundred times larger.
            let case = json!({ "id": format!("{name} {model}"), "tol": 5e-8 });
            for (field, value) in got.as_object().unwrap() {
                check(&case, field, value, &published[field]);
            }
        }
        println!("{name}: {} published rows", summaries.len());
        assert!(summaries.len() > 20);
    }
}

/// A row is `{"prefs": {model: preference}}`: 1 the reference wins, 2 the model wins, 0 a draw.
fn preferences(rows: &str) -> BTreeMap<String, WinRate> {
    let mut summaries: BTreeMap<String, WinRate> = BTreeMap::new();
    for row in rows.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        for (model, preference) in row["prefs"].as_object().unwrap() {
            let Some(preference) = preference.as_f64() else { continue };
            let value = if preference == 0.0 { 0.5 } else { preference - 1.0 };
            summaries.entry(model.clone()).or_default().add(Score::new(value).unwrap());
        }
    }
    summaries
}

// Scores and summaries.

#[test]
fn a_score_outside_zero_to_one_is_refused() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e-12, 1.0 + 1e-12, 2.0] {
        assert_eq!(Score::new(value), None, "{value}");
    }
    assert_eq!(Score::new(0.0), Some(Score::LOSS));
    assert_eq!(Score::new(-0.0), Some(Score::LOSS));
    assert_eq!(Score::new(0.5), Some(Score::TIE));
    assert_eq!(Score::new(1.0), Some(Score::WIN));
    assert!(serde_json::from_str::<Score>("1000000001").is_err());
    assert_eq!(serde_json::from_str::<Score>("1000000000").unwrap(), Score::WIN);
}

#[test]
fn a_score_between_two_thousandths_is_valued_on_both_sides() {
    for (score, low, high) in [
        (0.3, 0.3, 0.3),
        (0.3004, 0.3, 0.301),
        (1e-9, 0.0, 0.001),
        (0.999_999_999, 0.999, 1.0),
        (0.999, 0.999, 0.999),
        (1.0, 1.0, 1.0),
    ] {
        let summary = summary([(score, 2)]);
        let expected = |value| vec![Level { value, count: 2 }];
        assert_eq!(summary.levels(), (expected(low), expected(high)), "{score}");
    }
}

#[test]
fn nothing_is_known_before_the_first_pair() {
    let none = WinRate::new();
    assert_eq!(none.interval(0.05), Interval { lower: 0.0, upper: 1.0 });
    assert_eq!((none.pairs(), none.estimate(), none.standard_error()), (0, None, None));
    assert!(none.ln_e_value(0.5).abs() < 1e-12);
    assert_eq!(summary([(1.0, 1)]).standard_error(), None);
}

#[test]
fn an_alpha_that_makes_no_sense_excludes_nothing() {
    let summary = summary([(1.0, 1000)]);
    for alpha in [0.0, -0.1, 1.0, 2.5, f64::NAN, f64::INFINITY] {
        assert_eq!(summary.interval(alpha), Interval::ALL, "{alpha}");
    }
}

#[test]
fn a_written_summary_is_read_back_and_a_contradictory_one_is_refused() {
    let whole = summary([(1.0, 3), (0.123_456_789, 2), (0.5, 4)]);
    let written = serde_json::to_value(&whole).unwrap();
    assert_eq!(serde_json::from_value::<WinRate>(written.clone()).unwrap(), whole);
    let spoiled: [fn(&mut Value); 8] = [
        |v| v["sum"] = json!("7000000000"),
        |v| v["sum"] = json!("-1"),
        |v| v["squares"] = json!("0"),
        |v| v["bins"] = json!([]),
        |v| v["bins"][0][0] = json!(2001),
        |v| v["bins"][0][1] = json!(0),
        |v| v["bins"][0][1] = json!(1_u64 << 60),
        |v| v["bins"][1] = v["bins"][0].clone(),
    ];
    for (index, spoil) in spoiled.iter().enumerate() {
        let mut value = written.clone();
        spoil(&mut value);
        assert!(serde_json::from_value::<WinRate>(value).is_err(), "spoiled in way {index}");
    }
}

#[test]
fn doubling_a_summary_forever_saturates_instead_of_failing() {
    let mut summary = summary([(1.0, 1), (0.0, 2), (0.5, 1)]);
    for _ in 0..140 {
        summary.merge(&summary.clone());
    }
    assert_eq!(summary.pairs(), u64::MAX);
    assert!(summary.standard_error().unwrap() >= 0.0);
    assert!(summary.interval(0.05).lower <= summary.interval(0.05).upper);
}

#[test]
fn the_standard_error_survives_sums_too_wide_for_exact_products() {
    let mut summary = summary([(1.0, 1), (0.0, 1)]);
    for _ in 0..40 {
        summary.merge(&summary.clone());
    }
    let pairs = 2_f64.powi(41);
    assert_eq!(summary.pairs(), 1 << 41);
    assert!((summary.standard_error().unwrap() * pairs.sqrt() - 0.5).abs() < 1e-9);
}

fn summary(scores: impl IntoIterator<Item = (f64, u64)>) -> WinRate {
    let mut summary = WinRate::new();
    for (value, count) in scores {
        (0..count).for_each(|_| summary.add(Score::new(value).unwrap()));
    }
    summary
}

/// Scores as judges give them: plain verdicts, averages of two, and probabilities.
fn any_score() -> impl Strategy<Value = Score> {
    let plain = prop_oneof![Just(0.0), Just(0.25), Just(0.5), Just(0.75), Just(1.0)];
    let thousandth = (0..=1000_u32).prop_map(|k| f64::from(k) / 1000.0);
    prop_oneof![4 => plain, 1 => thousandth, 2 => 0.0..=1.0_f64]
        .prop_map(|value| Score::new(value).unwrap())
}

fn fold<'a>(scores: impl IntoIterator<Item = &'a Score>) -> WinRate {
    let mut summary = WinRate::new();
    scores.into_iter().for_each(|score| summary.add(*score));
    summary
}

fn bits(interval: Interval) -> (u64, u64) {
    (interval.lower.to_bits(), interval.upper.to_bits())
}

proptest! {
    #[test]
    fn any_order_split_and_merge_tree_gives_one_summary(
        scores in collection::vec((any_score(), 0..6_usize), 0..120),
        joins in collection::vec((any::<u16>(), any::<u16>()), 5),
    ) {
        let whole = fold(scores.iter().map(|(score, _)| score));
        let mut parts: Vec<WinRate> = (0..6)
            .map(|part| fold(scores.iter().rev().filter(|s| s.1 == part).map(|(score, _)| score)))
            .collect();
        for (from, into) in joins {
            let part = parts.swap_remove(usize::from(from) % parts.len());
            let into = usize::from(into) % parts.len();
            parts[into].merge(&part);
        }
        prop_assert_eq!(&parts[0], &whole);
        prop_assert_eq!(bits(parts[0].interval(0.05)), bits(whole.interval(0.05)));
        let (written, expected) = (serde_json::to_string(&parts[0]), serde_json::to_string(&whole));
        prop_assert_eq!(written.unwrap(), expected.unwrap());
    }

    #[test]
    fn counts_and_estimate_are_those_of_the_scores(
        scores in collection::vec(any_score(), 1..120),
    ) {
        let summary = fold(&scores);
        let count = |keep: fn(&Score) -> bool| scores.iter().filter(|s| keep(s)).count() as u64;
        prop_assert_eq!(summary.pairs(), scores.len() as u64);
        prop_assert_eq!(summary.wins(), count(|score| *score > Score::TIE));
        prop_assert_eq!(summary.ties(), count(|score| *score == Score::TIE));
        prop_assert_eq!(summary.losses(), count(|score| *score < Score::TIE));
        let n = scores.len() as f64;
        let mean = scores.iter().map(|score| score.value()).sum::<f64>() / n;
        let square = scores.iter().map(|score| (score.value() - mean).powi(2)).sum::<f64>();
        prop_assert!((summary.estimate().unwrap() - mean).abs() < 1e-12);
        prop_assert!((summary.deviation().unwrap() - (square / n).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn evidence_above_falls_and_evidence_below_grows_with_the_null(
        scores in collection::vec(any_score(), 1..120),
        nulls in (0.001..0.999_f64, 0.001..0.999_f64),
    ) {
        let (grid, (low, high)) = (Grid::default(), fold(&scores).levels());
        let (small, large) = (nulls.0.min(nulls.1), nulls.0.max(nulls.1));
        let above = |null| betting::ln_capital_above(&grid, &low, null);
        let below = |null| betting::ln_capital_below(&grid, &high, null);
        prop_assert!(above(small) >= above(large) - 1e-9);
        prop_assert!(below(small) <= below(large) + 1e-9);
    }

    #[test]
    fn the_capital_of_many_levels_is_that_of_the_plain_formula(
        counts in collection::vec(0..5000_u64, 1..400),
        null in 0.001..0.999_f64,
    ) {
        let value = |index: usize| index as f64 / 399.0;
        let levels: Vec<Level> = counts
            .iter()
            .enumerate()
            .map(|(index, count)| Level { value: value(index), count: *count })
            .collect();
        let (grid, sd) = (Grid::default(), (null * (1.0 - null)).sqrt());
        let plain = |side: f64, room: f64| {
            let ln = |effect: &f64| {
                let bet = (effect / sd).min(betting::CAP / room);
                let ln = |l: &Level| l.count as f64 * (side * bet * (l.value - null)).ln_1p();
                levels.iter().map(ln).sum()
            };
            grid.mix(&grid.effects().iter().map(ln).collect::<Vec<f64>>())
        };
        let close = |got: f64, plain: f64| (got - plain).abs() <= 1e-6 + 1e-9 * plain.abs();
        let above = betting::ln_capital_above(&grid, &levels, null);
        let below = betting::ln_capital_below(&grid, &levels, null);
        prop_assert!(close(above, plain(1.0, null)), "{above}");
        prop_assert!(close(below, plain(-1.0, 1.0 - null)), "{below}");
    }

    #[test]
    fn the_interval_holds_the_estimate_and_narrows_with_alpha(
        scores in collection::vec(any_score(), 1..120),
        alphas in (0.0001..0.9_f64, 0.0001..0.9_f64),
    ) {
        let summary = fold(&scores);
        let estimate = summary.estimate().unwrap();
        let wide = summary.interval(alphas.0.min(alphas.1));
        let narrow = summary.interval(alphas.0.max(alphas.1));
        prop_assert!(0.0 <= wide.lower && wide.lower <= narrow.lower + 1e-9);
        prop_assert!(narrow.upper <= wide.upper + 1e-9 && wide.upper <= 1.0);
        prop_assert!(narrow.lower <= estimate && estimate <= narrow.upper);
    }

    #[test]
    fn the_binned_interval_covers_the_exact_one_and_is_hardly_wider(
        scores in collection::vec(any_score(), 1..120),
    ) {
        let exact: Vec<Level> =
            scores.iter().map(|score| Level { value: score.value(), count: 1 }).collect();
        let exact = betting::interval(&Grid::default(), &exact, &exact, 0.05);
        let binned = fold(&scores).interval(0.05);
        prop_assert!(binned.lower <= exact.lower + 1e-9 && exact.lower - binned.lower < 2e-3);
        prop_assert!(binned.upper >= exact.upper - 1e-9 && binned.upper - exact.upper < 2e-3);
    }

    #[test]
    fn the_ends_of_the_interval_are_where_the_evidence_crosses(
        scores in collection::vec(any_score(), 1..120),
    ) {
        let (grid, (low, high)) = (Grid::default(), fold(&scores).levels());
        let (interval, threshold) = (fold(&scores).interval(0.05), 40_f64.ln());
        if interval.lower > 0.0 {
            let at = |null| betting::ln_capital_above(&grid, &low, null) >= threshold;
            prop_assert!(at(interval.lower) && !at(interval.lower + 1e-9));
        }
        if interval.upper < 1.0 {
            let at = |null| betting::ln_capital_below(&grid, &high, null) >= threshold;
            prop_assert!(at(interval.upper) && !at(interval.upper - 1e-9));
        }
    }
}

// The split of traffic.

#[test]
fn a_wrong_split_alarms_and_the_scale_of_the_weights_does_not_matter() {
    let shares = srm::sample_ratio(&[5300, 4700], &[0.5, 0.5], srm::CONCENTRATION).unwrap();
    let parts = srm::sample_ratio(&[5300, 4700], &[50.0, 50.0], srm::CONCENTRATION).unwrap();
    assert_eq!(shares, parts);
    assert!(shares.alarms() && shares.p < 0.01);
    assert!(!srm::sample_ratio(&[5050, 4950], &[1.0, 1.0], srm::CONCENTRATION).unwrap().alarms());
}

#[test]
fn an_arm_without_traffic_changes_nothing_until_it_gets_some() {
    let two = srm::sample_ratio(&[900, 100], &[9.0, 1.0], srm::CONCENTRATION).unwrap();
    let three = srm::sample_ratio(&[900, 100, 0], &[9.0, 1.0, 0.0], srm::CONCENTRATION).unwrap();
    assert_eq!(two, three);
    let leak = srm::sample_ratio(&[900, 100, 1], &[9.0, 1.0, 0.0], srm::CONCENTRATION).unwrap();
    assert!(leak.alarms());
    assert_eq!((leak.p, leak.chi_square_p), (0.0, 0.0));
}

#[test]
fn a_split_that_cannot_be_tested_is_no_split() {
    for weights in [&[][..], &[1.0], &[-1.0, 2.0], &[0.0, 0.0], &[f64::NAN, 1.0]] {
        let got = srm::sample_ratio(&[10, 20], weights, srm::CONCENTRATION);
        assert_eq!(got, None, "{weights:?}");
    }
    assert_eq!(srm::sample_ratio(&[10, 20], &[1.0, 1.0], 0.0), None);
}

// Rules.

#[test]
fn each_rule_gives_the_verdict_its_goal_calls_for() {
    use Goal::{Equivalent, NonInferior, Superior};
    use Reason::{
        BudgetExhausted, CandidateBetter, CandidateWorse, Collecting, NotWorse, TooFewPairs,
        WithinMargin,
    };
    use Verdict::{DoNotShip, KeepRunning, Ship};
    let same = Verdict::Equivalent;
    let most = 10_000;
    for (goal, [wins, ties, losses], max_pairs, verdict, reason) in [
        (Superior, [49, 0, 0], most, KeepRunning, TooFewPairs),
        (Superior, [50, 0, 0], most, Ship, CandidateBetter),
        (Superior, [0, 0, 50], most, DoNotShip, CandidateWorse),
        (Superior, [30, 0, 25], most, KeepRunning, Collecting),
        (Superior, [30, 0, 25], 55, DoNotShip, BudgetExhausted),
        (Superior, [200, 0, 100], 300, Ship, CandidateBetter),
        (Superior, [300, 3000, 300], most, same, WithinMargin),
        (Superior, [20, 0, 20], 40, DoNotShip, BudgetExhausted),
        (NonInferior, [3, 10, 2], most, KeepRunning, TooFewPairs),
        (NonInferior, [300, 3000, 300], most, Ship, NotWorse),
        (NonInferior, [100, 0, 200], most, DoNotShip, CandidateWorse),
        (NonInferior, [140, 0, 160], most, KeepRunning, Collecting),
        (NonInferior, [140, 0, 160], 300, DoNotShip, BudgetExhausted),
        (Equivalent, [300, 3000, 300], most, same, WithinMargin),
        (Equivalent, [200, 0, 100], most, Ship, CandidateBetter),
        (Equivalent, [100, 0, 200], most, DoNotShip, CandidateWorse),
        (Equivalent, [160, 0, 140], most, KeepRunning, Collecting),
        (Equivalent, [160, 0, 140], 300, DoNotShip, BudgetExhausted),
    ] {
        let summary = summary([(1.0, wins), (0.5, ties), (0.0, losses)]);
        let decision = rule_for(goal).decide(&summary, &Spec { max_pairs, ..Spec::new(goal) });
        let case = format!("{goal:?} {wins}/{ties}/{losses} of {max_pairs}");
        assert_eq!((decision.verdict, decision.reason), (verdict, reason), "{case}");
    }
}

#[test]
fn every_goal_has_one_rule_named_by_its_word() {
    let goals = [Goal::Equivalent, Goal::NonInferior, Goal::Superior];
    let words: Vec<String> = goals.iter().map(word).collect();
    let names: Vec<&str> = RULES.iter().map(|rule| rule.name()).collect();
    assert_eq!(names, words, "rules are sorted by name");
    for (goal, name) in goals.into_iter().zip(names) {
        assert_eq!(rule_for(goal).name(), name);
    }
}

#[test]
fn verdicts_and_reasons_read_the_same_in_json_and_in_text() {
    use Verdict::{DoNotShip, Equivalent, KeepRunning, Review, Ship};
    for verdict in [DoNotShip, Equivalent, KeepRunning, Review, Ship] {
        assert_eq!(verdict.to_string(), word(&verdict));
    }
    use Reason::{BudgetExhausted, CandidateBetter, CandidateWorse, Collecting, NotWorse};
    use Reason::{TooFewPairs, WithinMargin};
    for reason in [BudgetExhausted, CandidateBetter, CandidateWorse, Collecting, NotWorse] {
        assert_eq!(reason.to_string(), word(&reason));
    }
    for reason in [TooFewPairs, WithinMargin] {
        assert_eq!(reason.to_string(), word(&reason));
    }
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

// Plans.

#[test]
fn the_plan_shrinks_as_pairs_like_the_plan_arrive_and_ends_at_zero() {
    let spec = Spec::new(Goal::Superior);
    let seen = |n: u64| summary([(1.0, 60 * n), (0.0, 40 * n)]);
    let left: Vec<u64> =
        [1, 2, 3, 9].map(|n| plan::remaining(&seen(n), &spec).unwrap().n80).to_vec();
    assert!(left.is_sorted_by(|more, fewer| more > fewer), "{left:?}");
    assert_eq!(left[3], 0);
    // 0.60 without ties: the reference plan is 269 and 409 pairs before it is shown.
    let first = plan::remaining(&seen(1), &spec).unwrap();
    assert_eq!((first.n50, first.n80), (221 - 100, 348 - 100));
}

#[test]
fn a_plan_beyond_the_budget_is_no_plan() {
    let even = summary([(1.0, 100), (0.0, 100)]);
    for goal in [Goal::Equivalent, Goal::NonInferior, Goal::Superior] {
        let spec = Spec::new(goal);
        assert!(plan::remaining(&even, &spec).is_some(), "{goal:?}");
        let spec = Spec { max_pairs: 1000, ..spec };
        assert_eq!(plan::remaining(&even, &spec), None, "{goal:?}");
    }
}

#[test]
fn the_first_few_pairs_do_not_sway_the_plan() {
    for goal in [Goal::Equivalent, Goal::NonInferior, Goal::Superior] {
        let spec = Spec::new(goal);
        let start = plan::expected_at_start(&spec).unwrap();
        let after = plan::remaining(&summary([(1.0, 20)]), &spec).unwrap();
        assert_eq!((after.n50 + 20, after.n80 + 20), (start.n50, start.n80), "{goal:?}");
        assert!(spec.min_pairs < start.n50 && start.n50 < start.n80, "{goal:?}");
    }
}

// Simulation. Seeds are fixed, so a run repeats exactly.

/// Where scores come from: wins, ties and losses with a given mean.
#[derive(Clone, Copy, Debug)]
struct Truth {
    mean: f64,
    ties: f64,
}

impl Truth {
    fn draw(self, random: &mut fastrand::Rng) -> Score {
        let u = random.f64();
        if u < self.ties {
            Score::TIE
        } else if u < self.mean + self.ties / 2.0 {
            Score::WIN
        } else {
            Score::LOSS
        }
    }
}

/// The truths at which a rule is easiest to fool, and what must not be said there.
fn hardest(rule: &dyn Rule, margin: f64) -> Vec<(f64, Vec<Reason>)> {
    use Reason::{CandidateBetter, CandidateWorse, NotWorse, WithinMargin};
    let different = vec![CandidateBetter, CandidateWorse];
    let any = vec![CandidateBetter, CandidateWorse, WithinMargin];
    match rule.name() {
        "superior" => vec![(0.5, different), (0.5 + margin, vec![CandidateWorse, WithinMargin])],
        "non_inferior" => vec![(0.5 - margin, vec![NotWorse, CandidateWorse])],
        "equivalent" => vec![(0.5, different), (0.5 - margin, any.clone()), (0.5 + margin, any)],
        name => panic!("say where {name} is easiest to fool"),
    }
}

/// The share of experiments that stop for one of `reasons`, looking at each number of pairs in
/// `looks` until the first final verdict.
fn share_stopped_for(
    reasons: &[Reason],
    (rule, spec): (&dyn Rule, &Spec),
    truth: Truth,
    runs: u64,
    looks: &[u64],
) -> f64 {
    let stopped = (0..runs).filter(|run| {
        let mut random = fastrand::Rng::with_seed(*run);
        let mut summary = WinRate::new();
        looks.iter().find_map(|look| {
            (summary.pairs()..*look).for_each(|_| summary.add(truth.draw(&mut random)));
            let decision = rule.decide(&summary, spec);
            (decision.verdict != Verdict::KeepRunning).then(|| reasons.contains(&decision.reason))
        }) == Some(true)
    });
    stopped.count() as f64 / runs as f64
}

/// Three standard errors of a share of `expected` among `runs`.
fn noise(expected: f64, runs: u64) -> f64 {
    3.0 * (expected * (1.0 - expected) / runs as f64).sqrt()
}

/// Tries to fool every rule where it is easiest.
fn no_rule_is_fooled(runs: u64, horizon: u64, looks: &[u64]) {
    for rule in RULES {
        let spec = Spec { max_pairs: horizon, ..Spec::new(Goal::Superior) };
        for (mean, wrong) in hardest(*rule, spec.margin) {
            for ties in [0.0, 0.4] {
                let truth = Truth { mean, ties };
                let share = share_stopped_for(&wrong, (*rule, &spec), truth, runs, looks);
                println!("{} at {truth:?}: {share:.4} stop for {wrong:?}", rule.name());
                assert!(share <= spec.alpha + noise(spec.alpha, runs), "{}", rule.name());
            }
        }
    }
}

/// Each number of pairs one tenth above the last: the logarithm of time is what peeking costs.
fn looks_up_to(horizon: u64) -> Vec<u64> {
    std::iter::successors(Some(50), |look| Some(look + look / 10))
        .take_while(|look| *look < horizon)
        .chain([horizon])
        .collect()
}

#[test]
fn no_rule_is_fooled_more_often_than_alpha_by_looking_often() {
    no_rule_is_fooled(80, 2000, &looks_up_to(2000));
}

/// What people do without these statistics: 1.96 standard errors, at every look.
struct Peeking;

impl Rule for Peeking {
    fn name(&self) -> &'static str {
        "peeking"
    }

    fn see(&self, _: Interval, _: &Spec) -> Option<Decision> {
        None
    }

    fn decide(&self, summary: &WinRate, _: &Spec) -> Decision {
        let z = (summary.estimate().unwrap() - 0.5) / summary.standard_error().unwrap();
        match z.abs() > 1.96 {
            true => Decision { verdict: Verdict::Ship, reason: Reason::CandidateBetter },
            false => Decision { verdict: Verdict::KeepRunning, reason: Reason::Collecting },
        }
    }
}

#[test]
fn the_simulation_catches_a_rule_that_peeks() {
    let (spec, truth) = (Spec::new(Goal::Superior), Truth { mean: 0.5, ties: 0.0 });
    let wrong = [Reason::CandidateBetter];
    let looks = looks_up_to(2000);
    let share = share_stopped_for(&wrong, (&Peeking, &spec), truth, 80, &looks);
    assert!(share > spec.alpha + noise(spec.alpha, 80), "{share}");
}

#[test]
fn every_rule_finds_what_is_clearly_there() {
    let looks = looks_up_to(2000);
    for (goal, mean, reason) in [
        (Goal::Superior, 0.6, Reason::CandidateBetter),
        (Goal::Superior, 0.4, Reason::CandidateWorse),
        (Goal::NonInferior, 0.57, Reason::NotWorse),
        (Goal::NonInferior, 0.37, Reason::CandidateWorse),
        (Goal::Equivalent, 0.37, Reason::CandidateWorse),
        (Goal::Equivalent, 0.63, Reason::CandidateBetter),
    ] {
        let spec = Spec { max_pairs: 2000, ..Spec::new(goal) };
        let truth = Truth { mean, ties: 0.2 };
        let found = share_stopped_for(&[reason], (rule_for(goal), &spec), truth, 40, &looks);
        assert!(found >= 0.95, "{goal:?} at {mean}: {found}");
    }
}

#[test]
#[ignore = "minutes; run in release"]
fn no_rule_is_fooled_in_ten_thousand_pairs() {
    let looks: Vec<u64> = (5..=1000).map(|look| look * 10).collect();
    no_rule_is_fooled(1000, 10_000, &looks);
}

/// Pairs until the evidence on one side of 1/2 reaches 2/alpha, looking at every pair, and
/// whether that was the side of more wins; `None` if it does not within 10,000 pairs.
fn pairs_to_certainty(truth: Truth, seed: u64) -> Option<(u64, bool)> {
    let (grid, threshold) = (Grid::default(), 40_f64.ln());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut summary = WinRate::new();
    (1..=10_000).find_map(|pairs| {
        summary.add(truth.draw(&mut random));
        let (levels, _) = summary.levels();
        // Evidence for the other side is below 1 at 1/2, so it need not be computed.
        let above = summary.estimate()? >= 0.5;
        let evidence = if above { betting::ln_capital_above } else { betting::ln_capital_below };
        (evidence(&grid, &levels, 0.5) >= threshold).then_some((pairs, above))
    })
}

#[test]
#[ignore = "minutes; run in release"]
fn equal_models_are_told_apart_as_rarely_as_the_reference_says() {
    let runs = 4000;
    for (ties, reference) in [(0.0, 0.040), (0.2, 0.040), (0.4, 0.034)] {
        let truth = Truth { mean: 0.5, ties };
        let fooled = (0..runs).filter(|run| pairs_to_certainty(truth, *run).is_some()).count();
        let share = fooled as f64 / runs as f64;
        println!("ties {ties}: {share:.4}, reference {reference}");
        // The reference is itself a simulation of as many runs.
        let both = noise(reference, runs) * 2_f64.sqrt();
        assert!((share - reference).abs() <= both && share <= 0.05 + noise(0.05, runs));
    }
}

#[test]
#[ignore = "minutes; run in release"]
fn certainty_takes_as_many_pairs_as_the_reference_says() {
    for (mean, ties, reference, runs) in [
        (0.52, 0.0, 4853.0, 4000),
        (0.52, 0.2, 4047.0, 4000),
        (0.52, 0.4, 3200.0, 4000),
        (0.55, 0.0, 876.0, 6000),
        (0.55, 0.2, 725.0, 6000),
        (0.55, 0.4, 574.0, 6000),
        (0.60, 0.0, 248.0, 6000),
        (0.60, 0.2, 208.0, 6000),
        (0.60, 0.4, 164.0, 6000),
    ] {
        let truth = Truth { mean, ties };
        let stops: Vec<f64> = (0..runs)
            .map(|run| pairs_to_certainty(truth, run).map_or(10_000.0, |(pairs, _)| pairs as f64))
            .collect();
        let average = stops.iter().sum::<f64>() / runs as f64;
        println!("{truth:?}: {average:.0} pairs, reference {reference}");
        assert!((average / reference - 1.0).abs() <= 0.03, "{truth:?}: {average}");
    }
}

#[test]
#[ignore = "measures time; run in release"]
fn an_interval_takes_less_than_a_millisecond() {
    for (name, levels, pairs) in [
        ("plain verdicts", 2, 10_000),
        ("a few per bin", 1_000_000_000, 800),
        ("many per bin", 1_000_000_000, 100_000),
        ("hundreds of crowded bins", 300, 100_000),
    ] {
        let mut random = fastrand::Rng::with_seed(7);
        let mut summary = WinRate::new();
        for _ in 0..pairs {
            let value = f64::from(random.u32(0..=levels)) / f64::from(levels);
            summary.add(Score::new(value).unwrap());
        }
        let start = std::time::Instant::now();
        (0..100).for_each(|_| assert!(summary.interval(0.05).lower < 0.5));
        let each = start.elapsed() / 100;
        println!("{name}: {} levels, {pairs} pairs, {each:?}", summary.levels().0.len());
        if summary.levels().0.len() <= 500 {
            assert!(each.as_millis() < 1, "{name}");
        }
    }
}
