//! Budgets under load: what is settled is the sum of what calls cost, and limits hold.

use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use proptest::prelude::*;
use understudy::budget::Amount;
use understudy::budget::Cap;
use understudy::budget::Caps;
use understudy::caller::Patron;
use understudy::cost::Line;
use understudy::cost::Sums;
use understudy::till::Till;
use understudy::turnstile::Turnstile;

const CALLERS: usize = 64;

const REQUESTS: usize = 10_000;

/// 30 January 2026, 12:00 UTC.
const NOON: i64 = 1_769_774_400_000;

/// What one caller's calls came to.
#[derive(Debug, Default)]
struct Outcome {
    spent: Amount,
    largest_reserved: u64,
    largest_cost: u64,
    admitted: usize,
    refused: usize,
}

/// Works off a share of the requests: some streams are cut, some never begin.
fn call(
    turnstile: &Arc<Turnstile>,
    till: &Till,
    patron: &Arc<Patron>,
    (seed, requests): (u64, usize),
    most_over: u64,
) -> Outcome {
    let (mut random, mut outcome) = (fastrand::Rng::with_seed(seed), Outcome::default());
    for _ in 0..requests {
        let (most, tokens) = (random.u64(1..=1_000_000), random.u64(1..=5_000));
        let moment = (Instant::now(), NOON);
        let Ok(reservation) = turnstile.reserve(patron, (Some(most), tokens), moment) else {
            outcome.refused += 1;
            thread::yield_now();
            continue;
        };
        outcome.admitted += 1;
        outcome.largest_reserved = outcome.largest_reserved.max(most);
        if random.u8(..) < 64 {
            thread::yield_now();
        }
        // Where nothing came, nothing is paid; a stream that is cut costs a part.
        if random.u8(..) < 16 {
            drop(reservation);
            continue;
        }
        let cost = random.u64(0..=most * most_over);
        let sums = Sums { cost_nano_usd: cost, input_tokens: tokens, calls: 1, ..Sums::default() };
        let line = Line { caller: patron.name.clone(), ..Line::default() };
        till.add(NOON, line, &sums);
        reservation.settle(Amount { nano_usd: cost, tokens }, Instant::now(), NOON);
        outcome.spent.nano_usd += cost;
        outcome.spent.tokens += tokens;
        outcome.largest_cost = outcome.largest_cost.max(cost);
    }
    outcome
}

/// The same caller at 64 places at once.
fn crowd(seed: u64, cap: u64, most_over: u64) -> (Outcome, Amount, u64) {
    let caps = Caps { day: Cap { nano_usd: Some(cap), tokens: None }, ..Caps::default() };
    let patron = Arc::new(Patron { budget: caps, ..Patron::new("crowd") });
    let (turnstile, till) = (Arc::new(Turnstile::default()), Till::default());
    let all = Mutex::new(Outcome::default());
    thread::scope(|scope| {
        for at in 0..CALLERS {
            let (turnstile, till, patron, all) = (&turnstile, &till, &patron, &all);
            let requests = REQUESTS / CALLERS + usize::from(at < REQUESTS % CALLERS);
            let part = (seed.wrapping_add(at as u64), requests);
            scope.spawn(move || {
                let one = call(turnstile, till, patron, part, most_over);
                let mut all = all.lock().unwrap();
                all.spent.nano_usd += one.spent.nano_usd;
                all.spent.tokens += one.spent.tokens;
                all.largest_reserved = all.largest_reserved.max(one.largest_reserved);
                all.largest_cost = all.largest_cost.max(one.largest_cost);
                all.admitted += one.admitted;
                all.refused += one.refused;
            });
        }
    });
    let [day, month, reserved] = turnstile.spent("crowd");
    assert_eq!((day, reserved), (month, Amount::default()), "nothing is left set aside");
    let booked = till.take().values().map(|sums| sums.cost_nano_usd).sum();
    (all.into_inner().unwrap(), day, booked)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn what_is_settled_is_the_sum_of_all_costs_and_the_limit_is_passed_by_one_call_at_most(
        seed in any::<u64>(),
        cap in 1_000_u64..4_000_000_000,
    ) {
        let (all, settled, booked) = crowd(seed, cap, 1);
        prop_assert_eq!(settled, all.spent);
        prop_assert_eq!(booked, all.spent.nano_usd);
        prop_assert_eq!(all.admitted + all.refused, REQUESTS);
        prop_assert!(settled.nano_usd < cap + all.largest_reserved, "{:?} {cap}", settled);
    }

    #[test]
    fn costs_above_what_was_set_aside_pass_the_limit_by_no_more_than_one_call_per_place(
        seed in any::<u64>(),
        cap in 1_000_u64..4_000_000_000,
    ) {
        let (all, settled, booked) = crowd(seed, cap, 3);
        prop_assert_eq!(settled, all.spent);
        prop_assert_eq!(booked, all.spent.nano_usd);
        let bound = cap + CALLERS as u64 * all.largest_cost;
        prop_assert!(settled.nano_usd < bound, "{:?} {cap}", settled);
    }

    #[test]
    fn nobody_is_refused_who_is_alone_and_below_the_limit(
        costs in prop::collection::vec(0_u64..1000, 1..200),
        cap in 1_u64..20_000,
    ) {
        let caps = Caps { day: Cap { nano_usd: Some(cap), tokens: None }, ..Caps::default() };
        let patron = Arc::new(Patron { budget: caps, ..Patron::new("one") });
        let turnstile = Arc::new(Turnstile::default());
        let mut spent = 0;
        for cost in costs {
            let taken = turnstile.reserve(&patron, (Some(1000), 1), (Instant::now(), NOON));
            prop_assert_eq!(taken.is_ok(), spent < cap);
            if let Ok(reservation) = taken {
                reservation.settle(Amount { nano_usd: cost, tokens: 1 }, Instant::now(), NOON);
                spent += cost;
            }
        }
    }
}
