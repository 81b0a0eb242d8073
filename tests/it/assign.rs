//! Who is assigned to what: published vectors, proportions, stability, independence, agreement.

mod enrolment;
mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use understudy::chat::DialectName;
use understudy::experiment::Candidate;
use understudy::experiment::Experiment;
use understudy::experiment::Layer;
use understudy::experiment::Share;
use understudy::experiment::assign;
use understudy::experiment::assign::Outside;
use understudy::experiment::assign::position;
use understudy::stats::srm::CONCENTRATION;
use understudy::stats::srm::sample_ratio;

use crate::harness::sidecar;

const UNITS: u32 = 1_000_000;

/// The chance that a test below fails although all is well, for each statistic; seeds are fixed, so
/// one that passes always passes.
const LEVEL: f64 = 1e-3;

fn ppm(ppm: u32) -> Share {
    Share::from_ppm(ppm).unwrap()
}

/// An experiment with candidates of these shares, called `a`, `b`, …
fn experiment(salt: &str, shares: &[u32]) -> Experiment {
    let mut made = sidecar::experiment("openai/x", "openai/y", Share::NONE, Share::NONE);
    made.salt = salt.to_owned();
    let first = made.candidates[0].variant.clone();
    let candidate = |(name, share): (char, &u32)| {
        let mut variant = first.clone();
        variant.name = name.to_string();
        Candidate { variant, split: ppm(*share) }
    };
    made.candidates = ('a'..).zip(shares).map(candidate).collect();
    made
}

/// The cells of every row below the header `| first |` in the README, without their backticks.
fn published(header: &str) -> Vec<Vec<String>> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let section = readme.split("## Assignment, exactly").nth(1).unwrap();
    let rows = section.lines().skip_while(|line| *line != header).skip(2);
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim_matches('|');
        line.split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(rows.len() >= 5, "{header} has lost its rows");
    rows
}

#[test]
fn the_published_positions_are_what_the_code_says() {
    for row in published("| purpose | salt | subject | position |") {
        let [purpose, salt, subject, expected] = row.as_slice() else { panic!("{row:?}") };
        let found = position(purpose, salt, subject.as_bytes());
        assert_eq!(found.to_string(), *expected, "{purpose} {salt} {subject}");
    }
}

#[test]
fn the_published_assignments_are_what_the_code_says() {
    for row in published("| salt | split | unit | variant |") {
        let [salt, split, unit, expected] = row.as_slice() else { panic!("{row:?}") };
        let percent = |split: &str| split.split_once(' ')?.1.trim_end_matches('%').parse().ok();
        let shares: Vec<u32> =
            split.split(", ").map(|part| percent(part).map(|p: u32| p * 10_000).unwrap()).collect();
        let made = experiment(salt, &shares);
        assert_eq!(made.assign(unit.as_bytes()).name, *expected, "{split} {unit}");
    }
}

#[test]
fn the_published_units_are_what_the_code_says() {
    let dialect = DialectName::OpenAi.dialect();
    for row in published("| body | unit |") {
        let [body, expected] = row.as_slice() else { panic!("{row:?}") };
        let head = dialect.read_head(Bytes::from(body.clone()), None).unwrap();
        assert_eq!(dialect.conversation(&head), *expected, "{body}");
    }
}

/// Where a million units stand, in order.
fn positions(salt: &str) -> Vec<u32> {
    let position = |unit: u32| position("assign", salt, format!("user-{unit}").as_bytes());
    let mut positions: Vec<u32> = (0..UNITS).map(position).collect();
    positions.sort_unstable();
    positions
}

/// How many of these sorted positions each variant has.
fn counts(made: &Experiment, positions: &[u32]) -> BTreeMap<String, u64> {
    let below = |end: u32| positions.partition_point(|position| *position < end) as u64;
    let count = |(candidate, place): (&Candidate, Range<u32>)| {
        let some = positions.iter().filter(|at| place.contains(at)).step_by(997);
        some.for_each(|at| assert_eq!(made.at(*at), &candidate.variant));
        (candidate.variant.name.clone(), below(place.end) - below(place.start))
    };
    let mut counts: BTreeMap<String, u64> = made.places().map(count).collect();
    let rest = positions.len() as u64 - counts.values().sum::<u64>();
    counts.insert("control".to_owned(), rest);
    counts
}

#[test]
fn a_million_units_split_as_the_weights_say() {
    const WEIGHTINGS: [&[u32]; 20] = [
        &[1],
        &[5],
        &[10],
        &[25],
        &[50],
        &[90],
        &[99],
        &[1, 1],
        &[10, 20],
        &[50, 50],
        &[33, 33],
        &[5, 90],
        &[1, 1, 1],
        &[10, 20, 30],
        &[70, 10, 15],
        &[33, 33, 34],
        &[1, 2, 3, 4],
        &[20, 20, 20, 20],
        &[25, 25, 25, 25],
        &[60, 1, 1, 38],
    ];
    let salts = ["one", "two"].map(|salt| (salt, positions(salt)));
    for (at, weights) in WEIGHTINGS.into_iter().enumerate() {
        let (salt, positions) = &salts[at % salts.len()];
        let shares: Vec<u32> = weights.iter().map(|percent| percent * 10_000).collect();
        let made = experiment(salt, &shares);
        let counts = counts(&made, positions);
        let weight = |name: &String| match made.candidates.iter().find(|c| c.variant.name == *name)
        {
            Some(candidate) => candidate.split.fraction(),
            None => 1.0 - shares.iter().sum::<u32>() as f64 / 1e6,
        };
        let expected: Vec<f64> = counts.keys().map(weight).collect();
        let found: Vec<u64> = counts.values().copied().collect();
        assert_eq!(found.iter().sum::<u64>(), u64::from(UNITS));
        let ratio = sample_ratio(&found, &expected, CONCENTRATION).unwrap();
        // Twenty looks share one chance of a false alarm.
        assert!(ratio.chi_square_p > LEVEL / 20.0, "{weights:?}: {counts:?} {ratio:?}");
    }
}

/// Follows every unit from step to step; gives how many went where.
fn moves(before: &Experiment, after: &Experiment) -> BTreeMap<(String, String), u32> {
    let mut moves = BTreeMap::new();
    for position in (0..UNITS).step_by(7) {
        let (from, to) = (before.at(position), after.at(position));
        if from.name != to.name {
            *moves.entry((from.name.clone(), to.name.clone())).or_default() += 1;
        }
    }
    moves
}

#[test]
fn a_ramp_takes_units_from_control_and_moves_none_back_or_across() {
    const RAMP: [u32; 4] = [10_000, 50_000, 250_000, 333_333];
    for candidates in 1..=4 {
        let step = |share: u32| experiment("ramp", &vec![share; candidates]);
        // Four candidates have room for a quarter each.
        for steps in RAMP.windows(2).take(if candidates == 4 { 2 } else { 3 }) {
            let moves = moves(&step(steps[0]), &step(steps[1]));
            assert_eq!(moves.len(), candidates, "{steps:?}: {moves:?}");
            assert!(moves.keys().all(|(from, _)| from == "control"), "{steps:?}: {moves:?}");
        }
    }
}

#[test]
fn a_changed_weight_moves_only_the_units_it_must() {
    let check = |before: &[u32], after: &[u32], allowed: &[(&str, &str)]| {
        let moves = moves(&experiment("w", before), &experiment("w", after));
        let found: Vec<(&str, &str)> = moves.keys().map(|(a, b)| (&a[..], &b[..])).collect();
        assert_eq!(found, allowed, "{before:?} {after:?}");
    };
    check(&[100_000, 100_000], &[200_000, 100_000], &[("control", "a")]);
    check(&[100_000, 100_000], &[100_000, 50_000], &[("b", "control")]);
    check(&[50_000, 50_000, 50_000], &[50_000, 300_000, 50_000], &[("control", "b")]);
    check(&[500_000, 100_000], &[100_000, 500_000], &[("a", "control"), ("control", "b")]);
    // There is no room left, so the one in the middle has to give way.
    check(
        &[100_000, 100_000, 0],
        &[500_000, 100_000, 0],
        &[("b", "a"), ("control", "a"), ("control", "b")],
    );
}

#[test]
fn halting_a_candidate_moves_its_own_units_to_control_and_no_others() {
    for halted in ["a", "b", "c"] {
        let before = experiment("halt", &[400_000, 300_000, 200_000]);
        let mut after = before.clone();
        after.standing.halted = vec![halted.to_owned()];
        let moves = moves(&before, &after);
        let found: Vec<_> = moves.keys().collect();
        assert_eq!(found, [&(halted.to_owned(), "control".to_owned())]);
    }
}

/// Whether units have a property, and how many should, between 0 and 1.
type Property<'a> = (&'a dyn Fn(&[u8]) -> bool, f64);

/// The p-value of the chi-square test that two properties of units have the shares they should have
/// and nothing to do with each other (four cells, three degrees of freedom).
fn p_of_independence((a, share_a): Property<'_>, (b, share_b): Property<'_>) -> f64 {
    let mut cells = [0_u64; 4];
    for unit in 0..200_000 {
        let unit = format!("user-{unit}");
        let unit = unit.as_bytes();
        cells[usize::from(a(unit)) * 2 + usize::from(b(unit))] += 1;
    }
    let (not_a, not_b) = (1.0 - share_a, 1.0 - share_b);
    let weights = [not_a * not_b, not_a * share_b, share_a * not_b, share_a * share_b];
    sample_ratio(&cells, &weights, CONCENTRATION).unwrap().chi_square_p
}

#[test]
fn layers_experiments_shares_and_holdout_are_independent_of_each_other() {
    let layer = |name: &str| Layer { name: name.to_owned(), from: ppm(0), to: ppm(500_000) };
    let (one, two) = (layer("checkout"), layer("search"));
    let (trial, other) = (experiment("trial", &[500_000]), experiment("other", &[300_000]));
    let mut part = experiment("trial", &[500_000]);
    part.matches.share = ppm(400_000);
    let in_one: Property<'_> = (&|unit| one.holds(unit), 0.5);
    let in_two: Property<'_> = (&|unit| two.holds(unit), 0.5);
    let in_trial: Property<'_> = (&|unit| trial.assign(unit).name == "a", 0.5);
    let in_other: Property<'_> = (&|unit| other.assign(unit).name == "a", 0.3);
    let in_part: Property<'_> = (&|unit| part.excludes(unit, Share::NONE).is_none(), 0.4);
    let held: Property<'_> = (&|unit| assign::is_held_out(ppm(100_000), unit), 0.1);
    for (what, p) in [
        ("two layers", p_of_independence(in_one, in_two)),
        ("a layer and an assignment", p_of_independence(in_one, in_trial)),
        ("two assignments", p_of_independence(in_trial, in_other)),
        ("holdout and an assignment", p_of_independence(held, in_trial)),
        ("holdout and a layer", p_of_independence(held, in_one)),
        ("a share and its assignment", p_of_independence(in_part, in_trial)),
    ] {
        assert!(p > LEVEL / 6.0, "{what}: p = {p}");
    }
    // The test itself sees what depends on each other.
    assert!(p_of_independence(in_one, in_one) < 1e-9);
}

#[test]
fn slices_of_a_layer_share_no_unit_and_leave_none_out() {
    let slice = |from: u32, to: u32| {
        let mut made = experiment("slice", &[500_000]);
        made.layer = Some(Layer { name: "page".to_owned(), from: ppm(from), to: ppm(to) });
        made
    };
    let slices = [slice(0, 300_000), slice(300_000, 800_000), slice(800_000, 1_000_000)];
    let mut taken = [0_u64; 3];
    for unit in 0..100_000 {
        let unit = format!("user-{unit}");
        let takes = |made: &Experiment| made.excludes(unit.as_bytes(), Share::NONE).is_none();
        let by: Vec<usize> = (0..3).filter(|at| takes(&slices[*at])).collect();
        assert_eq!(by.len(), 1, "{unit}");
        taken[by[0]] += 1;
    }
    let ratio = sample_ratio(&taken, &[0.3, 0.5, 0.2], CONCENTRATION).unwrap();
    assert!(ratio.chi_square_p > LEVEL, "{taken:?}");
}

#[test]
fn the_holdout_is_the_same_units_for_all_and_has_its_size() {
    let holdout = ppm(50_000);
    let mut all = [experiment("x", &[500_000]), experiment("y", &[10_000]), experiment("z", &[0])];
    all[1].layer = Some(Layer { name: "page".to_owned(), from: Share::NONE, to: ppm(500_000) });
    all[2].matches.share = ppm(300_000);
    let mut held = 0;
    for unit in 0..100_000 {
        let unit = format!("user-{unit}");
        let out =
            |made: &Experiment| made.excludes(unit.as_bytes(), holdout) == Some(Outside::Holdout);
        let outs: Vec<bool> = all.iter().map(out).collect();
        assert!(outs.iter().all(|out| *out == outs[0]), "{unit}: {outs:?}");
        held += u64::from(outs[0]);
        let grown = assign::is_held_out(ppm(100_000), unit.as_bytes());
        assert!(grown || !outs[0], "a larger holdout keeps everyone of a smaller one");
    }
    let ratio = sample_ratio(&[held, 100_000 - held], &[0.05, 0.95], CONCENTRATION).unwrap();
    assert!(ratio.chi_square_p > LEVEL, "{held}");
}
