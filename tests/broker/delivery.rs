//! What the broker acknowledged is there after a crash: at its offset, once, in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::{Ack, Producer, Seen, create_topic, numbered, produce, read_all, texts, watermarks};
use crate::harness::{Broker, unique, wait_for};

const PARTITIONS: i32 = 4;
/// How many acknowledgements a broker gives at least before it is ended.
const ACKS_A_ROUND_MIN: usize = 3_000;
/// The rounds differ by less than this many, so that an end comes at any fill of a journal file, also after several.
const ACKS_A_ROUND_SPREAD: usize = 20_000;
/// How many records the load keeps unacknowledged, so that an end always hits records in flight.
const OUTSTANDING_MAX: usize = 1_000;
/// How often a load that rests looks whether it may go on.
const REST: Duration = Duration::from_millis(5);

/// How often a test ends the broker in mid-load.
fn rounds() -> usize {
    std::env::var("CORELOG_KILL_ROUNDS").map_or(3, |text| text.parse().expect("CORELOG_KILL_ROUNDS is a number"))
}

/// How many acknowledgements the broker gives in `round` before it is ended.
fn acks_in(round: usize) -> usize {
    ACKS_A_ROUND_MIN + (round * 7_919) % ACKS_A_ROUND_SPREAD
}

/// The bytes of record `id`: of very different lengths, and telling where it belongs.
fn payload(id: usize) -> Vec<u8> {
    let mut bytes = format!("record {id} ").into_bytes();
    bytes.resize(bytes.len() + (id * 7919) % 1_500, b'a' + (id % 26) as u8);
    bytes
}

fn partition_of(id: usize) -> i32 {
    (id % PARTITIONS as usize) as i32
}

/// Sends records without end while `end_and_restart` ends the broker, [`rounds`] times; returns the acknowledgements, in their order,
/// and how many records were sent. The load rests while a round's outcome is read, or a fast broker would have it read for ever.
fn load(
    broker: &mut Broker,
    topic: &str,
    settings: &[(&str, &str)],
    mut end_and_restart: impl FnMut(&mut Broker),
) -> (Vec<Ack>, usize, usize) {
    let producer = Producer::new(broker.bootstrap(), topic, settings);
    let (stop, rest) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = std::thread::scope(|scope| {
        let loader = scope.spawn(|| {
            let mut id = 0;
            while !stop.load(Ordering::Relaxed) {
                while rest.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(REST);
                }
                wait_for("reports of earlier records", || {
                    (stop.load(Ordering::Relaxed) || producer.reported() + OUTSTANDING_MAX > id).then_some(())
                });
                producer.send(producer.record(id, &payload(id)).partition(partition_of(id)));
                id += 1;
            }
            id
        });
        // Stops the load also when an assertion below fails, or the scope would wait for it for ever.
        let _stop = StopOnDrop(&stop);
        for round in 0..rounds() {
            let before = producer.acked();
            wait_for("acknowledgements in mid-load", || {
                (producer.acked() >= before + acks_in(round) || loader.is_finished()).then_some(())
            });
            assert!(!loader.is_finished(), "the load ended early in round {round}");
            end_and_restart(broker);
            rest.store(true, Ordering::Relaxed);
            assert_acknowledged(broker, topic, &producer.acks());
            rest.store(false, Ordering::Relaxed);
        }
        drop(_stop);
        loader.join().expect("the load runs to its end")
    });
    producer.flush();
    (producer.acks(), sent, producer.errors().len())
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each acknowledged record is at its offset, byte for byte; offsets run without a gap. Returns what is in the partitions.
fn assert_acknowledged(broker: &Broker, topic: &str, acks: &[Ack]) -> Vec<Vec<Seen>> {
    let partitions = read_all(broker.bootstrap(), topic, PARTITIONS);
    for (number, partition) in partitions.iter().enumerate() {
        let gap = partition.iter().enumerate().find(|(position, record)| record.offset != *position as i64);
        assert!(gap.is_none(), "partition {number} has a gap or a repeated offset: {gap:?}");
    }
    for ack in acks {
        assert_eq!(ack.partition, partition_of(ack.id));
        let found = partitions[ack.partition as usize].get(ack.offset as usize);
        let found = found.unwrap_or_else(|| panic!("{ack:?} was acknowledged and is lost"));
        assert!(
            found.value.as_deref() == Some(&payload(ack.id)),
            "{ack:?} was acknowledged, and other bytes are there: {found:?}"
        );
    }
    partitions
}

fn kill9_and_restart(broker: &mut Broker) {
    broker.kill9();
    broker.restart();
}

fn stop_and_restart(broker: &mut Broker) {
    broker.stop();
    broker.restart();
}

#[test]
fn acknowledged_records_survive_kill_9() {
    let Some(mut broker) = Broker::start_own() else { return };
    let topic = unique("kill");
    create_topic(broker.bootstrap(), &topic, PARTITIONS);
    let (acks, sent, failed) = load(&mut broker, &topic, &[("acks", "all")], kill9_and_restart);
    assert_eq!(acks.len() + failed, sent, "each record is reported once");
    assert_acknowledged(&broker, &topic, &acks);
}

#[test]
fn an_idempotent_producer_leaves_no_duplicate_and_no_gap_over_kill_9() {
    let Some(mut broker) = Broker::start_own() else { return };
    let topic = unique("idempotent");
    create_topic(broker.bootstrap(), &topic, PARTITIONS);
    let settings = [("enable.idempotence", "true"), ("compression.type", "lz4")];
    let (acks, sent, failed) = load(&mut broker, &topic, &settings, kill9_and_restart);
    assert_eq!((acks.len(), failed), (sent, 0), "the producer retries until each record is acknowledged");
    assert_each_once_in_order(&assert_acknowledged(&broker, &topic, &acks), sent);
}

#[test]
fn a_clean_stop_in_mid_load_loses_and_repeats_nothing() {
    let Some(mut broker) = Broker::start_own() else { return };
    let topic = unique("stop");
    create_topic(broker.bootstrap(), &topic, PARTITIONS);
    let (acks, sent, failed) = load(&mut broker, &topic, &[("enable.idempotence", "true")], stop_and_restart);
    assert_eq!((acks.len(), failed), (sent, 0), "the producer retries until each record is acknowledged");
    assert_each_once_in_order(&assert_acknowledged(&broker, &topic, &acks), sent);
}

fn assert_each_once_in_order(partitions: &[Vec<Seen>], sent: usize) {
    for (number, partition) in partitions.iter().enumerate() {
        let expected = (0..sent).filter(|id| partition_of(*id) == number as i32);
        let differs =
            expected.clone().zip(partition).find(|(id, record)| record.value.as_deref() != Some(&payload(*id)));
        assert!(
            differs.is_none(),
            "partition {number}: record {:?} stands where {:?} belongs",
            differs.map(|d| d.1),
            differs.map(|d| d.0)
        );
        assert_eq!(partition.len(), expected.count(), "partition {number} has each record once");
    }
}

#[test]
fn a_clean_stop_keeps_everything() {
    let Some(mut broker) = Broker::start_own() else { return };
    let topic = unique("clean");
    create_topic(broker.bootstrap(), &topic, 1);
    let payloads = numbered("kept", 2_000);
    produce(broker.bootstrap(), &topic, 0, &payloads);
    for _ in 0..2 {
        stop_and_restart(&mut broker);
        assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (0, payloads.len() as i64));
        assert_eq!(texts(&read_all(broker.bootstrap(), &topic, 1)[0]), payloads);
    }
    let more = numbered("after the restarts", 10);
    let acks = produce(broker.bootstrap(), &topic, 0, &more);
    assert_eq!(acks[0].offset, payloads.len() as i64, "offsets go on where they ended");
    assert_eq!(texts(&read_all(broker.bootstrap(), &topic, 1)[0]), [payloads, more].concat());
}

#[test]
fn acks_0_delivers_without_an_answer() {
    let broker = Broker::start();
    let topic = unique("acks-0");
    create_topic(broker.bootstrap(), &topic, 1);
    let payloads = numbered("unanswered", 1_000);
    let producer = Producer::new(broker.bootstrap(), &topic, &[("acks", "0")]);
    for (id, payload) in payloads.iter().enumerate() {
        producer.send(producer.record(id, payload.as_bytes()).partition(0));
    }
    producer.finish();
    let all = (0, payloads.len() as i64);
    wait_for("the broker has all records", || (watermarks(broker.bootstrap(), &topic, 0) == all).then_some(()));
    assert_eq!(texts(&read_all(broker.bootstrap(), &topic, 1)[0]), payloads);
}

#[test]
fn acks_1_reports_the_offset_of_each_record() {
    let broker = Broker::start();
    let topic = unique("acks-1");
    create_topic(broker.bootstrap(), &topic, PARTITIONS);
    let producer = Producer::new(broker.bootstrap(), &topic, &[("acks", "1")]);
    for id in 0..1_000 {
        producer.send(producer.record(id, &payload(id)).partition(partition_of(id)));
    }
    let acks = producer.finish();
    assert_eq!(acks.len(), 1_000);
    assert_each_once_in_order(&assert_acknowledged(&broker, &topic, &acks), 1_000);
}
