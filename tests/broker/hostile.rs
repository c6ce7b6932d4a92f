//! Bytes that are no Kafka request harm nothing but the connection that they came on.

use crate::client::{create_topic, numbered, produce, read_all, texts};
use crate::harness::{Broker, unique, wait_for};
use crate::wire::{API_VERSIONS, METADATA, Wire, api_versions_v0, flexible_request, frame, request};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const JOIN_GROUP: i16 = 11;
const CREATE_TOPICS: i16 = 19;

/// A count or length in a compact field: the largest that five bytes hold.
const HUGE_VARINT: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];
/// The largest count or length in a classic field.
const HUGE: [u8; 4] = i32::MAX.to_be_bytes();

/// After each of these the broker must close the connection, and keep serving others: new ones, and one that was open before.
fn assert_each_closes_only_itself(attacks: &[(&str, Vec<u8>)]) {
    let broker = Broker::start();
    let mut bystander = Wire::connect(broker.bootstrap());
    bystander.assert_works();
    for (name, bytes) in attacks {
        let mut attacker = Wire::connect(broker.bootstrap());
        attacker.send(bytes);
        let answer = attacker.read_to_close();
        assert_eq!(answer, b"", "{name}: closed without an answer");
        Wire::connect(broker.bootstrap()).assert_works();
        bystander.assert_works();
    }
    assert_still_stores(&broker);
}

/// The broker takes and gives records as if nothing had happened.
fn assert_still_stores(broker: &Broker) {
    let topic = unique("unharmed");
    create_topic(broker.bootstrap(), &topic, 1);
    let payloads = numbered("record", 10);
    produce(broker.bootstrap(), &topic, 0, &payloads);
    assert_eq!(texts(&read_all(broker.bootstrap(), &topic, 1)[0]), payloads);
}

#[test]
fn frames_of_impossible_lengths_close_the_connection() {
    assert_each_closes_only_itself(&[
        ("the longest frame", HUGE.to_vec()),
        (
            "a frame of 1 GiB with a request in it",
            [&(1_u32 << 30).to_be_bytes()[..], &request(METADATA, 1, 1, &[])].concat(),
        ),
        ("just above socket.request.max.bytes", (104_857_601_u32).to_be_bytes().to_vec()),
        ("length -1", (-1_i32).to_be_bytes().to_vec()),
        ("the most negative length", i32::MIN.to_be_bytes().to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS's first bytes", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
    ]);
}

#[test]
fn frames_without_a_whole_request_close_the_connection() {
    assert_each_closes_only_itself(&[
        ("an empty frame", frame(&[])),
        ("one byte", frame(&[0])),
        ("a header without its end", frame(&[0, 3, 0, 1, 0, 0])),
        ("a client id beyond the frame", frame(b"\0\x03\0\x01\0\0\0\x01\x7f\xffraw")),
        ("an unknown api key", request(9_999, 0, 1, &[])),
        ("a negative api key", request(-1, 0, 1, &[])),
        ("a version above all", request(METADATA, 999, 1, &[])),
        ("a negative version", request(METADATA, -1, 1, &[])),
        ("Metadata without a body", request(METADATA, 4, 1, &[])),
        ("Produce without a body", request(PRODUCE, 9, 1, &[])),
    ]);
}

#[test]
fn counts_and_lengths_that_the_frame_cannot_hold_close_the_connection() {
    let metadata_name = [&1_i32.to_be_bytes()[..], &i16::MAX.to_be_bytes(), b"x"].concat();
    // Transactional id null, acks 1, timeout, then the topics; or one topic "x" with its partitions; or its one partition's records.
    let produce = |tail: &[u8]| request(PRODUCE, 3, 1, &[b"\xff\xff\0\x01\0\0\x03\xe8", tail].concat());
    let one_topic = b"\0\0\0\x01\0\x01x";
    // Replica, waits and sizes, isolation level; version 4.
    let fetch = |tail: &[u8]| request(FETCH, 4, 1, &[&[0xff; 4][..], &[0; 4], &[0; 4], &HUGE, &[0], tail].concat());
    assert_each_closes_only_itself(&[
        ("Metadata: topics", request(METADATA, 1, 1, &HUGE)),
        ("Metadata: a topic's name", request(METADATA, 1, 1, &metadata_name)),
        ("Metadata: compact topics", flexible_request(METADATA, 9, 1, &HUGE_VARINT)),
        ("Metadata: a varint without an end", flexible_request(METADATA, 9, 1, &[0xff; 32])),
        ("Metadata: tagged fields of the header", request(METADATA, 9, 1, &HUGE_VARINT)),
        ("Produce: topics", produce(&HUGE)),
        ("Produce: partitions", produce(&[&one_topic[..], &HUGE].concat())),
        ("Produce: records", produce(&[&one_topic[..], b"\0\0\0\x01", b"\0\0\0\0", &HUGE].concat())),
        ("Fetch: topics", fetch(&HUGE)),
        ("Fetch: partitions", fetch(&[&one_topic[..], &HUGE].concat())),
        ("CreateTopics: topics", request(CREATE_TOPICS, 2, 1, &HUGE)),
        (
            "JoinGroup: protocols",
            request(JOIN_GROUP, 2, 1, &[b"\0\x01g\0\0\x27\x10\0\0\x27\x10\0\0\0\x08consumer", &HUGE[..]].concat()),
        ),
    ]);
}

#[test]
fn truncated_frames_and_garbage_harm_nobody() {
    let broker = Broker::start();
    let mut bystander = Wire::connect(broker.bootstrap());
    let whole = request(METADATA, 1, 1, b"\0\0\0\0");
    for cut in 1..whole.len() {
        let mut attacker = Wire::connect(broker.bootstrap());
        attacker.send(&whole[..cut]);
        attacker.send_end();
        assert_eq!(attacker.read_to_close(), b"", "a frame cut after {cut} bytes has no answer");
        bystander.assert_works();
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..100_usize {
        let garbage: Vec<u8> = (0..(round * 37) % 2_000 + 1).map(|_| random_byte(&mut state)).collect();
        let mut attacker = Wire::connect(broker.bootstrap());
        // Every other time as the content of a good frame, with the number and a version of an API that exists.
        if round % 2 == 0 {
            attacker.send(&garbage);
        } else {
            attacker.send(&request((round % 48) as i16, (round % 5) as i16, 1, &garbage));
        }
        attacker.send_end();
        // Some garbage is a request by chance, and may be answered.
        attacker.read_to_close();
        bystander.assert_works();
    }
    Wire::connect(broker.bootstrap()).assert_works();
    assert_still_stores(&broker);
}

/// xorshift64: the same garbage on each run.
fn random_byte(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as u8
}

#[test]
fn a_newer_api_versions_request_is_answered_with_version_0_and_the_list() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    wire.send(&request(API_VERSIONS, 0, 5, &[]));
    let served = api_versions_v0(&wire.receive(), 5);
    let (lowest, highest) = served.range_of(API_VERSIONS).expect("ApiVersions lists itself");
    assert_eq!(lowest, 0);
    for version in [highest + 1, 99, i16::MAX] {
        wire.send(&flexible_request(API_VERSIONS, version, 6, b"\x04new\x021\0"));
        let answer = api_versions_v0(&wire.receive(), 6);
        assert_eq!(answer.error_code, 35, "UNSUPPORTED_VERSION for version {version}");
        assert_eq!(answer.range_of(API_VERSIONS), Some((lowest, highest)), "the client learns what to ask for");
    }
    // The same connection goes on with a version that the list offers.
    wire.assert_works();
}

#[test]
fn every_api_that_clients_need_is_listed() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    wire.send(&request(API_VERSIONS, 0, 5, &[]));
    let served = api_versions_v0(&wire.receive(), 5);
    // Each with a version from the middle of what clients of the last years use.
    let needed = [
        (0, 9),
        (1, 12),
        (2, 5),
        (3, 9),
        (8, 8),
        (9, 7),
        (10, 3),
        (11, 5),
        (12, 3),
        (13, 2),
        (14, 3),
        (15, 3),
        (16, 3),
    ];
    for (api, version) in
        needed.into_iter().chain([(18, 3), (19, 5), (20, 4), (22, 2), (32, 2), (33, 1), (37, 1), (42, 1)])
    {
        let (lowest, highest) = served.range_of(api).unwrap_or_else(|| panic!("API {api} is served"));
        assert!(lowest <= version && version <= highest, "API {api}: {version} is not in {lowest} to {highest}");
    }
}

#[test]
fn requests_are_answered_in_their_order_however_they_arrive() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    let ask = |number: i32| {
        // No topics in version 1: a small answer.
        if number % 2 == 0 { request(API_VERSIONS, 0, number, &[]) } else { request(METADATA, 1, number, b"\0\0\0\0") }
    };
    let burst: Vec<u8> = (0..100).flat_map(ask).collect();
    wire.send(&burst);
    for number in 0..100 {
        assert_eq!(wire.receive()[..4], i32::to_be_bytes(number), "the answers to one burst come in its order");
    }
    for byte in ask(100).into_iter().chain(ask(101)) {
        wire.send(&[byte]);
    }
    for number in [100, 101] {
        assert_eq!(wire.receive()[..4], i32::to_be_bytes(number), "a frame may come byte by byte");
    }
}

#[test]
fn many_connections_come_and_go() {
    const CONNECTIONS: usize = 200;
    let broker = Broker::start();
    for number in 0..CONNECTIONS {
        let mut wire = Wire::connect(broker.bootstrap());
        match number % 4 {
            0 => {}
            1 => wire.assert_works(),
            2 => wire.send(&100_u32.to_be_bytes()),
            _ => wire.send(&request(METADATA, 1, 1, &[0xff; 4])), // closed before its answer is read
        }
    }
    let mut held: Vec<Wire> = (0..CONNECTIONS).map(|_| Wire::connect(broker.bootstrap())).collect();
    held.iter_mut().for_each(Wire::assert_works);
    // Half of them wait in the middle of a frame for ever; the others go on.
    held.iter_mut().step_by(2).for_each(|wire| wire.send(&[0, 0]));
    held.iter_mut().skip(1).step_by(2).for_each(Wire::assert_works);
    assert!(held.iter_mut().all(Wire::is_open), "a slow connection is not closed at once");
    assert_still_stores(&broker);
    drop(held);
    Wire::connect(broker.bootstrap()).assert_works();
}

/// Apache Kafka fails this one: it allocates what a length announces.
#[test]
fn a_frames_announced_length_costs_no_memory() {
    const CONNECTIONS: u64 = 40;
    const ANNOUNCED: u32 = 100_000_000;
    let Some(broker) = Broker::start_own() else { return };
    Wire::connect(broker.bootstrap()).assert_works();
    let before = resident_bytes(broker.process_id());
    let mut held: Vec<Wire> = (0..CONNECTIONS).map(|_| Wire::connect(broker.bootstrap())).collect();
    for wire in &mut held {
        wire.send(&ANNOUNCED.to_be_bytes());
        wire.send(&[0; 1_000]);
    }
    // Connections are served in turn on each shard: when later ones have been answered on both, those above were read.
    for _ in 0..10 {
        Wire::connect(broker.bootstrap()).assert_works();
    }
    assert!(held.iter_mut().all(Wire::is_open), "the announced length is below socket.request.max.bytes");
    let grown = wait_for("the broker's memory", || Some(resident_bytes(broker.process_id()).saturating_sub(before)));
    let announced = CONNECTIONS * u64::from(ANNOUNCED);
    assert!(grown < announced / 20, "{grown} bytes more for {announced} that were only announced");
}

/// What the process has in memory, from the second field of `/proc/ID/statm`.
fn resident_bytes(process: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).expect("the process runs");
    let pages: u64 = statm.split(' ').nth(1).expect("a second field").parse().expect("a number of pages");
    // SAFETY: sysconf reads a constant of the system.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page_bytes).expect("pages have a size")
}
