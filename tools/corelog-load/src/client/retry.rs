//! What is tried again, after how long, and for how long.

use std::time::{Duration, Instant};

use corelog::protocol::ErrorCode;

/// The wait before the first new attempt; each further one takes twice as long.
const WAIT_FIRST: Duration = Duration::from_millis(20);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Something that went wrong.
#[derive(Debug)]
pub enum Trouble {
    /// It may pass: a connection that broke, an answer that says "later".
    Passing(anyhow::Error),
    /// It stays, however often the same is asked.
    Final(anyhow::Error),
}

impl Trouble {
    /// Of an answer with an error.
    pub fn of(code: ErrorCode, error: anyhow::Error) -> Trouble {
        if is_retriable(code) { Trouble::Passing(error) } else { Trouble::Final(error) }
    }
}

/// Whether Kafka's clients ask again after this error: the subclasses of `RetriableException` in
/// `org.apache.kafka.common.errors`.
pub fn is_retriable(code: ErrorCode) -> bool {
    use ErrorCode::*;
    matches!(
        code,
        CorruptMessage
            | UnknownTopicOrPartition
            | LeaderNotAvailable
            | NotLeaderOrFollower
            | RequestTimedOut
            | ReplicaNotAvailable
            | NetworkException
            | CoordinatorLoadInProgress
            | CoordinatorNotAvailable
            | NotCoordinator
            | NotEnoughReplicas
            | NotEnoughReplicasAfterAppend
            | NotController
            | KafkaStorageError
            | FetchSessionIdNotFound
            | InvalidFetchSessionEpoch
            | ListenerNotFound
            | FencedLeaderEpoch
            | UnknownLeaderEpoch
            | OffsetNotAvailable
            | PreferredLeaderNotAvailable
            | EligibleLeadersNotAvailable
            | ElectionNotNeeded
            | UnstableOffsetCommit
            | ThrottlingQuotaExceeded
            | UnknownTopicId
            | InconsistentTopicId
            | FetchSessionTopicIdError
            | ConcurrentTransactions
    )
}

/// When to try again, and when no more. Plain data: the caller has the clock.
#[derive(Clone, Debug)]
pub struct Backoff {
    give_up: Duration,
    /// Since when nothing has worked.
    since: Option<Instant>,
    wait: Duration,
}

impl Backoff {
    /// Gives up when nothing has worked for `give_up`.
    pub fn new(give_up: Duration) -> Backoff {
        Backoff { give_up, since: None, wait: WAIT_FIRST }
    }

    /// Something worked.
    pub fn worked(&mut self) {
        (self.since, self.wait) = (None, WAIT_FIRST);
    }

    /// Something failed at `now`, and began at `began` at the latest. When to try again.
    ///
    /// # Errors
    /// The error itself, when nothing has worked for too long.
    pub fn failed(&mut self, began: Instant, now: Instant, error: anyhow::Error) -> anyhow::Result<Instant> {
        let since = *self.since.get_or_insert(began.min(now));
        if now.saturating_duration_since(since) >= self.give_up {
            let seconds = self.give_up.as_secs_f64();
            return Err(error.context(format!("given up: nothing has worked for {seconds} s (--give-up)")));
        }
        let until = now + self.wait;
        self.wait = (2 * self.wait).min(WAIT_MAX);
        Ok(until)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::clock;

    #[test]
    fn waits_double_up_to_a_second_and_start_over_when_something_works() {
        let start = clock::now();
        let mut backoff = Backoff::new(Duration::from_secs(60));
        let mut wait = |worked: bool| {
            if worked {
                backoff.worked();
            }
            (backoff.failed(start, start, anyhow!("refused")).expect("another attempt") - start).as_millis()
        };
        let waits: Vec<u128> = (0..8).map(|_| wait(false)).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(wait(true), 20);
    }

    #[test]
    fn it_gives_up_when_nothing_has_worked_for_so_long() {
        let start = clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut backoff = Backoff::new(Duration::from_secs(10));
        assert!(backoff.failed(at(0), at(5), anyhow!("refused")).is_ok());
        backoff.worked();
        assert!(backoff.failed(at(8), at(9), anyhow!("refused")).is_ok());
        assert!(backoff.failed(at(17), at(17), anyhow!("refused")).is_ok());
        let error = backoff.failed(at(18), at(18), anyhow!("refused")).expect_err("given up");
        assert_eq!(format!("{error:#}"), "given up: nothing has worked for 10 s (--give-up): refused");
    }

    #[test]
    fn errors_of_the_broker_s_state_pass_and_errors_of_the_request_do_not() {
        for code in [ErrorCode::NotLeaderOrFollower, ErrorCode::NotEnoughReplicas, ErrorCode::KafkaStorageError] {
            assert!(is_retriable(code), "{}", code.name());
        }
        for code in [ErrorCode::MessageTooLarge, ErrorCode::OutOfOrderSequenceNumber, ErrorCode::OffsetOutOfRange] {
            assert!(!is_retriable(code), "{}", code.name());
        }
    }
}
