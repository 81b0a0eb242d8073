//! The life of experiments: what may happen when, what a change means, and what survives.

mod log;
mod reload;
mod running;

use std::time::Duration;

use http::HeaderName;
use understudy::experiment::Candidate;
use understudy::experiment::Experiment;
use understudy::experiment::Form;
use understudy::experiment::Guardrail;
use understudy::experiment::Judge;
use understudy::experiment::Judges;
use understudy::experiment::Layer;
use understudy::experiment::Limit;
use understudy::experiment::Method;
use understudy::experiment::Metric;
use understudy::experiment::Reference;
use understudy::experiment::Scale;
use understudy::experiment::Share;
use understudy::experiment::Standing;
use understudy::experiment::State;
use understudy::experiment::Status;
use understudy::experiment::SystemChange;
use understudy::experiment::Template;
use understudy::experiment::Unit;
use understudy::experiment::definition::Change;
use understudy::experiment::definition::difference;
use understudy::experiment::definition::parts;
use understudy::experiment::life::By;
use understudy::experiment::life::Event;
use understudy::experiment::life::Life;
use understudy::stats::Verdict;
use understudy::stats::rule::Goal;

use crate::harness::sidecar::experiment;
use crate::harness::sidecar::target;

fn share(percent: u32) -> Share {
    Share::from_ppm(percent * 10_000).unwrap()
}

fn trial() -> Experiment {
    let mut trial = experiment("alpha/m", "alpha/n", share(20), share(10));
    let limit = Limit::MaxRatio(1.5);
    trial.guardrails = vec![Guardrail { metric: Metric::CostPerRequest, limit }];
    trial
}

fn events() -> Vec<(&'static str, Event)> {
    let (by, why) = (By::Person, String::new());
    let parts = parts(&trial());
    let candidate = "next".to_owned();
    let verdicts = Default::default();
    vec![
        ("start", Event::Started { epoch: 1, parts: parts.clone() }),
        ("change", Event::Changed { what: Vec::new(), parts: parts.clone() }),
        ("new epoch", Event::NewEpoch { epoch: 2, why: Vec::new(), parts }),
        ("pause", Event::Paused { by, why: why.clone() }),
        ("resume", Event::Resumed { by }),
        ("halt", Event::Halted { epoch: 1, candidate, by, why: why.clone() }),
        ("step", Event::Stepped { step: 1, share: 10_000 }),
        ("skip", Event::Stepped { step: 2, share: 10_000 }),
        ("stop", Event::Stopped { by, why }),
        ("decide", Event::Decided { verdict: Verdict::Ship, verdicts }),
    ]
}

#[test]
fn what_may_happen_depends_on_where_it_stands_and_an_error_says_so() {
    use State::{Decided, Draft, Paused, Running, Stopped};
    for (state, word, may) in [
        (Draft, "draft", vec![("start", Running), ("stop", Stopped)]),
        (
            Running,
            "running",
            vec![
                ("change", Running),
                ("new epoch", Running),
                ("pause", Paused),
                ("halt", Running),
                ("step", Running),
                ("stop", Stopped),
                ("decide", Decided),
            ],
        ),
        (
            Paused,
            "paused",
            vec![
                ("change", Paused),
                ("new epoch", Paused),
                ("resume", Running),
                ("halt", Paused),
                ("stop", Stopped),
                ("decide", Decided),
            ],
        ),
        (Stopped, "stopped", vec![("change", Stopped), ("new epoch", Running), ("halt", Stopped)]),
        (Decided, "decided", vec![("change", Decided), ("new epoch", Running), ("halt", Decided)]),
    ] {
        let before = Standing { state, ..Standing::default() };
        for (name, event) in events() {
            let allowed = may.iter().find(|(allowed, _)| *allowed == name).map(|(_, to)| *to);
            match (before.after(&event), allowed) {
                (Ok(after), Some(wanted)) => assert_eq!(after.state, wanted, "{state:?} {name}"),
                (Err(error), None) => {
                    assert!(error.detail.contains(word), "{state:?} {name}: {error}");
                    assert!(error.detail.contains(": "), "no way out: {error}");
                }
                (got, wanted) => panic!("{state:?} {name}: {got:?}, not {wanted:?}"),
            }
        }
    }
}

#[test]
fn a_new_epoch_knows_nothing_of_halts_and_steps_of_the_one_before() {
    let happened = |names: &[&str]| {
        let all = events();
        let find = |name: &&str| all.iter().find(|(known, _)| known == name).unwrap().1.clone();
        names.iter().map(find).try_fold(Standing::default(), |s, e| s.after(&e)).unwrap()
    };
    let before = happened(&["step", "halt", "halt"]);
    assert_eq!((before.step, before.halted, before.epoch), (1, vec!["next".to_owned()], 1));
    // The halt of the first epoch was written down behind the second one.
    let after = happened(&["step", "halt", "new epoch", "halt"]);
    assert_eq!((after.step, after.halted, after.epoch), (0, Vec::new(), 2));
}

type Edit = fn(&mut Experiment);

#[test]
fn only_a_change_of_what_is_compared_begins_an_epoch() {
    let free: &[(&str, Edit)] = &[
        ("question", |e| e.question = "why?".into()),
        ("traffic.split.next", |e| e.candidates[0].split = share(30)),
        ("traffic.ramp", |e| e.ramp = vec![share(30)]),
        ("traffic.step", |e| e.step.after = Duration::from_secs(1)),
        ("traffic.shadow", |e| e.shadow = share(1)),
        ("traffic.again", |e| e.again = share(1)),
        ("traffic.shadow_daily_usd", |e| e.shadow_daily_usd = Some(1.0)),
        ("budget_usd", |e| e.evaluate.budget_usd = Some(1.0)),
        ("daily_usd", |e| e.evaluate.daily_usd = Some(1.0)),
        ("concurrency", |e| e.evaluate.concurrency = Some(1)),
        ("min_pairs", |e| e.decide.min_pairs = 11),
        ("max_pairs", |e| e.decide.max_pairs = 11),
        ("guardrails.cost_per_request", |e| e.guardrails[0].limit = Limit::MaxRatio(1.4)),
        ("guardrails.error_rate", |e| {
            let limit = Limit::MaxIncrease(0.01);
            e.guardrails.push(Guardrail { metric: Metric::ErrorRate, limit });
        }),
    ];
    let epoch: &[(&str, Edit)] = &[
        ("salt", |e| e.salt = "x".into()),
        ("match.route", |e| e.matches.route = Some("x".into())),
        ("match.headers", |e| {
            e.matches.headers = vec![(HeaderName::from_static("x-app"), "a".into())];
        }),
        ("match.fields", |e| e.matches.fields = vec![("/a".into(), 1.into())]),
        ("match.tenants", |e| e.matches.tenants = vec!["a".into()]),
        ("match.share", |e| e.matches.share = share(50)),
        ("layer", |e| {
            e.layer = Some(Layer { name: "l".into(), from: Share::NONE, to: share(50) });
        }),
        ("unit", |e| e.unit = Unit::Field("/user".into())),
        ("control.target", |e| e.control.target = target("alpha/x")),
        ("control.patch", |e| drop(e.control.patch.insert("a".into(), 1.into()))),
        ("candidates.next.system", |e| {
            e.candidates[0].variant.system = Some(SystemChange::Append("Be kind.".into()));
        }),
        ("candidates", |e| {
            let mut other: Candidate = e.candidates[0].clone();
            other.variant.name = "other".into();
            e.candidates.push(other);
        }),
        ("comparators", |e| e.evaluate.comparators.clear()),
        ("sample", |e| e.evaluate.sample = share(50)),
        ("quorum", |e| e.evaluate.quorum = Some(1)),
        ("judge.target", |e| e.evaluate.judge = Judges::People),
        ("goal", |e| e.decide.goal = Goal::Superior),
        ("margin", |e| e.decide.margin = 0.2),
        ("alpha", |e| e.decide.alpha = 0.1),
        ("guardrails.cost_per_request", |e| e.guardrails[0].limit = Limit::MaxRatio(1.6)),
        ("guardrails.cost_per_request", |e| e.guardrails.clear()),
    ];
    let changed = |edit: Edit| {
        let mut new = trial();
        edit(&mut new);
        difference(&trial(), &new)
    };
    for (name, edit) in free {
        assert_eq!(changed(*edit), Change::Allowed(vec![(*name).to_owned()]), "{name}");
    }
    for (name, edit) in epoch {
        match changed(*edit) {
            Change::NewEpoch(why) => assert!(why.contains(&(*name).to_owned()), "{name}: {why:?}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let unseen: &[Edit] = &[|_| {}, |e| e.standing.step = 3, |e| e.intent = Status::Stopped];
    unseen.iter().for_each(|edit| assert_eq!(changed(*edit), Change::Same));
}

type JudgeEdit = fn(&mut Judge);

/// What is said of a judge, by the name of its part; true if a change begins an epoch.
const OF_A_JUDGE: &[(&str, JudgeEdit, bool)] = &[
    ("target", |j| j.target = target("alpha/other"), true),
    ("criteria", |j| j.criteria = vec!["Right.".into()], true),
    ("both_orders", |j| j.both_orders = Share::NONE, true),
    ("method", |j| j.method = Method::Rubric(Scale::Five), true),
    ("reasons", |j| j.reasons = true, true),
    ("form", |j| j.form = Form::Words, true),
    (
        "template",
        |j| {
            let source = "{{ question }}{{ answer_a }}{{ answer_b }}";
            j.template = Some(Template::parse(source, "").unwrap());
        },
        true,
    ),
    ("reference", |j| j.reference = Some(Reference::Field("/a".into())), true),
    ("max_chars", |j| j.max_chars = 1_000, true),
    ("temperature", |j| j.temperature = 1.0, true),
    ("repeat", |j| j.repeat = share(5), false),
];

#[test]
fn what_changes_a_judges_verdict_begins_an_epoch() {
    let with = |judges: Vec<Judge>| {
        let mut trial = trial();
        trial.evaluate.judge = Judges::Models(judges);
        trial
    };
    let judge = |name: &str| Judge::new(target(name));
    for (part, edit, is_epoch) in OF_A_JUDGE {
        for at in [0, 1] {
            let mut judges = vec![judge("alpha/j"), judge("alpha/k")];
            let old = with(judges.clone());
            edit(&mut judges[at]);
            let name = [format!("judge.{part}"), format!("judge.2.{part}")][at].clone();
            let wanted = match is_epoch {
                true => Change::NewEpoch(vec![name]),
                false => Change::Allowed(vec![name]),
            };
            assert_eq!(difference(&old, &with(judges)), wanted);
        }
    }
    // What an older version wrote of a judge is what this one would write.
    let parts = parts(&with(vec![Judge { criteria: vec!["x".into()], ..judge("alpha/j") }]));
    let own = parts.iter().filter(|(name, _)| name.starts_with("judge"));
    let own: Vec<(&str, usize)> = own.map(|(name, text)| (name.as_str(), text.len())).collect();
    let names = [("judge.both_orders", 4), ("judge.criteria", 32), ("judge.target", 7)];
    assert_eq!(own, names);
}

#[test]
fn a_files_word_is_obeyed_when_it_changes_and_not_each_time_it_is_read() {
    use Status::{Draft, Running, Stopped};
    for (words, wanted) in [
        (vec![Running], "started"),
        (vec![Running, Running], "started"),
        (vec![Draft], "defined"),
        (vec![Draft, Running], "defined started"),
        (vec![Running, Draft, Running], "started changed paused changed resumed"),
        (vec![Running, Stopped], "started changed stopped"),
        (vec![Running, Stopped, Stopped], "started changed stopped"),
        (vec![Running, Stopped, Running], "started changed stopped new_epoch"),
        (vec![Stopped], "defined stopped"),
    ] {
        let (mut life, mut happened) = (Life::default(), Vec::new());
        for word in &words {
            let events = life.meets(&Experiment { intent: *word, ..trial() });
            for event in events {
                life = life.after(&event).unwrap();
                happened.push(serde_json::to_value(&event).unwrap()["event"].clone());
            }
        }
        let happened: Vec<&str> = happened.iter().filter_map(|event| event.as_str()).collect();
        let told = happened.join(" ").replace("defined started", "started");
        assert_eq!(told, wanted.replace("defined started", "started"), "{words:?}");
    }
    // A person's word stands until the file says something new.
    let mut life = Life::default();
    for event in life.meets(&trial()) {
        life = life.after(&event).unwrap();
    }
    life = life.after(&Event::Stopped { by: By::Person, why: String::new() }).unwrap();
    assert_eq!(life.meets(&trial()), Vec::new());
}
