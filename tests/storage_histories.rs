//! Seeded histories of the storage engine, see [`history`].
//!
//! `CORELOG_HISTORIES=n` runs n seeds instead of the default; `CORELOG_HISTORY_SEED=s` runs one, to look at.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test may fail loudly")]

mod history;

const DEFAULT_HISTORIES: u64 = 1000;

#[test]
fn the_engine_keeps_its_promises_over_crashes_faults_and_damage() {
    let variable = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    let seeds = match variable("CORELOG_HISTORY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("CORELOG_HISTORIES").unwrap_or(DEFAULT_HISTORIES),
    };
    if let Some((seed, what)) = history::first_failure(seeds, || {}) {
        panic!("this history failed; again with CORELOG_HISTORY_SEED={seed}: {what}");
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..40 {
        assert_eq!(history::trace_of(seed), history::trace_of(seed), "seed {seed}");
    }
}
