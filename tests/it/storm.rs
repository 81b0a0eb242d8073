//! A provider that fails for a minute, in simulated time: what further calls it gets, and how soon
//! its traffic is back when it is well again.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use understudy::experiment::Target;
use understudy::health::Choice;
use understudy::health::Fault;
use understudy::health::Health;
use understudy::health::Ticket;
use understudy::health::Wish;
use understudy::health::allowance::RESERVE;
use understudy::health::allowance::TRICKLE;
use understudy::health::breaker::Rules;
use understudy::retry::Again;
use understudy::retry::Retry;

/// When the provider begins to fail and when it is well again, and the end, milliseconds.
const FAILS: u64 = 20_000;
const WELL: u64 = 80_000;
const END: u64 = 200_000;

/// How long a call takes, milliseconds.
const TAKES: u64 = 100;

/// What happens to one request.
enum Event {
    /// It is sent for the first time.
    Arrives,
    /// It is sent once more.
    Again { number: u32 },
    /// Its call ends.
    Ends { number: u32, ticket: Ticket },
}

/// What came of a minute of failures.
struct Storm {
    /// Requests that arrived while the provider failed.
    first: u64,
    /// Calls it got in that time.
    calls: u64,
    /// From when it is well until no request is refused any more, milliseconds.
    recovered: u64,
}

fn storm(per_second: u64, retry: Retry, rules: Rules) -> Storm {
    let (health, begin) = (Arc::new(Health::default()), Instant::now());
    let target = [Target::parse("alpha/m").unwrap()];
    let mut rng = fastrand::Rng::with_seed(7);
    let mut queue = BinaryHeap::new();
    let mut events = BTreeMap::new();
    let mut number_of = 0_u64;
    let mut push = |queue: &mut BinaryHeap<_>, events: &mut BTreeMap<_, _>, at: u64, event| {
        number_of += 1;
        queue.push(Reverse((at, number_of)));
        events.insert(number_of, event);
    };
    for arrival in 0..END * per_second / 1000 {
        push(&mut queue, &mut events, arrival * 1000 / per_second, Event::Arrives);
    }
    let mut storm = Storm { first: 0, calls: 0, recovered: 0 };
    while let Some(Reverse((at, id))) = queue.pop() {
        let now = begin + Duration::from_millis(at);
        let is_failing = (FAILS..WELL).contains(&at);
        let refused = |storm: &mut Storm| {
            storm.recovered = storm.recovered.max(at.saturating_sub(WELL));
        };
        let (number, ticket) = match events.remove(&id).unwrap() {
            Event::Arrives => {
                storm.first += u64::from(is_failing);
                let wish = Wish { targets: &target, asked: &[], keeps_first: false, rules };
                let Choice::Ask(_, ticket) = health.choose(&wish, now) else {
                    refused(&mut storm);
                    continue;
                };
                health.earn(&target[0], retry.budget, 0.0, now);
                (0, ticket)
            }
            Event::Again { number } => match health.again(&target[0], rules, now) {
                Some(ticket) => (number, ticket),
                None => continue,
            },
            Event::Ends { mut ticket, .. } if !is_failing => {
                ticket.began(None, now);
                continue;
            }
            Event::Ends { number, ticket } => {
                ticket.failed(Fault::Broken, None, now);
                let left = Duration::from_secs(600);
                let (asked, has_others, part) = (None, false, rng.f64());
                let again = Again { number, asked, has_others, part, left };
                if let Some(wait) = again.wait(&retry, &health, &target[0], now) {
                    let at = at + u64::try_from(wait.as_millis()).unwrap();
                    push(&mut queue, &mut events, at, Event::Again { number: number + 1 });
                }
                continue;
            }
        };
        storm.calls += u64::from(is_failing);
        push(&mut queue, &mut events, at + TAKES, Event::Ends { number, ticket });
    }
    storm
}

#[test]
fn a_provider_that_fails_gets_no_more_than_its_budget_and_its_traffic_returns_when_it_is_well() {
    let never = Rules { failures: u32::MAX, requests: usize::MAX, ..Rules::default() };
    println!("requests/s  breaker  calls / requests  bound  recovered after");
    for per_second in [1, 5, 20, 100, 500] {
        for (name, rules) in [("off", never), ("on", Rules::default())] {
            let retry = Retry::default();
            let Storm { first, calls, recovered } = storm(per_second, retry, rules);
            let factor = calls as f64 / first as f64;
            let seconds = (WELL - FAILS) as f64 / 1000.0;
            let beside = (RESERVE + TRICKLE * seconds) / first as f64;
            let bound = 1.0 + retry.budget + beside;
            println!(
                "{per_second:>10}  {name:<7}  {factor:>16.3}  {bound:.3}  {:.1} s",
                recovered as f64 / 1000.0
            );
            assert!(factor <= bound, "{per_second} {name}: {factor} above {bound}");
            // A breaker that has doubled its pause to the most, and one probe.
            assert!(recovered <= 80_000 + TAKES, "{per_second} {name}: {recovered}");
            if name == "off" {
                assert_eq!(recovered, 0);
                continue;
            }
            assert!(factor < 0.5, "{per_second}: a breaker that is open lets only probes through");
        }
    }
    let blind = Retry { budget: f64::from(u32::MAX), ..Retry::default() };
    let Storm { first, calls, .. } = storm(20, blind, never);
    println!("without a budget and a breaker: {:.2}", calls as f64 / first as f64);
}
