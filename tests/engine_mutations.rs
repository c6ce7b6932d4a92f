//! Holds the histories to their worth: each bug of [`Mutation`] must fail one of the first seeds.
//!
//! `cargo test -p corelog --features mutations --test engine_mutations -- --nocapture` says after how many.
//! `CORELOG_MUTATION_SEEDS=n` allows n seeds instead of the default.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test may fail loudly")]

mod history;

use corelog::storage::mutation::{Mutation, activate};

const SEEDS: u64 = 1000;

#[test]
fn histories_find_every_mutation() {
    let seeds = std::env::var("CORELOG_MUTATION_SEEDS").ok().and_then(|value| value.parse().ok()).unwrap_or(SEEDS);
    // Each finding is a panic, and expected.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        match history::first_failure(0..seeds, || activate(Some(mutation))) {
            Some((seed, what)) => eprintln!("{mutation:?}: found after {} histories: {what}", seed + 1),
            None => {
                eprintln!("{mutation:?}: not found in {seeds} histories");
                missed.push(mutation);
            }
        }
    }
    std::panic::set_hook(hook);
    assert!(missed.is_empty(), "{seeds} histories do not find {missed:?}");
}
