//! librdkafka as the tests use it: a producer that records acknowledgements, reading a topic to its end, administration.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use crate::harness::{DEADLINE, unique, wait_for};

/// What every client in these tests starts from.
pub fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    // Restarts are what is tested: find the broker again at once.
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200");
    config.set("topic.metadata.refresh.fast.interval.ms", "20");
    config
}

/// One record that the broker acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The number that the test gave the record when it sent it.
    pub id: usize,
    /// Where the broker says that it is.
    pub partition: i32,
    /// At which offset; -1 with acks=0.
    pub offset: i64,
}

/// Collects delivery reports.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Reports>>);

#[derive(Default)]
struct Reports {
    acks: Vec<Ack>,
    errors: Vec<KafkaError>,
}

impl ClientContext for Recorder {}

impl ProducerContext for Recorder {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, id: usize) {
        let mut reports = self.0.lock().expect("no report panics");
        match result {
            Ok(message) => reports.acks.push(Ack { id, partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => reports.errors.push(error.clone()),
        }
    }
}

/// A producer whose records are numbered, and that keeps each acknowledgement.
pub struct Producer {
    inner: ThreadedProducer<Recorder>,
    reports: Recorder,
    topic: String,
}

impl Producer {
    /// A producer to one topic, with these settings over the usual ones.
    pub fn new(bootstrap: &str, topic: &str, settings: &[(&str, &str)]) -> Producer {
        let mut config = config(bootstrap);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let reports = Recorder::default();
        let inner = config.create_with_context(reports.clone()).expect("a producer");
        Producer { inner, reports, topic: topic.to_owned() }
    }

    /// A record to this producer's topic, for [`Producer::send`].
    pub fn record<'a>(&'a self, id: usize, payload: &'a [u8]) -> BaseRecord<'a, [u8], [u8], usize> {
        BaseRecord::with_opaque_to(&self.topic, id).payload(payload)
    }

    /// Queues a record; waits while librdkafka's queue is full.
    pub fn send(&self, record: BaseRecord<'_, [u8], [u8], usize>) {
        let mut waiting = Some(record);
        wait_for("room in the producer's queue", || match self.inner.send(waiting.take()?) {
            Ok(()) => Some(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                waiting = Some(back);
                None
            }
            Err((error, _)) => panic!("the record cannot be sent: {error}"),
        });
    }

    /// Waits until each record is acknowledged or has failed.
    pub fn flush(&self) {
        self.inner.flush(DEADLINE).expect("all records are reported in time");
    }

    /// How many records were acknowledged so far.
    pub fn acked(&self) -> usize {
        self.reports.0.lock().expect("no report panics").acks.len()
    }

    /// How many records were reported so far, acknowledged or failed.
    pub fn reported(&self) -> usize {
        let reports = self.reports.0.lock().expect("no report panics");
        reports.acks.len() + reports.errors.len()
    }

    /// The acknowledgements so far, in the order in which they came.
    pub fn acks(&self) -> Vec<Ack> {
        self.reports.0.lock().expect("no report panics").acks.clone()
    }

    /// The records that were reported as failed so far.
    pub fn errors(&self) -> Vec<KafkaError> {
        self.reports.0.lock().expect("no report panics").errors.clone()
    }

    /// Flushes, and returns the acknowledgements; no record may have failed.
    pub fn finish(&self) -> Vec<Ack> {
        self.flush();
        assert_eq!(self.errors(), [], "records failed");
        self.acks()
    }
}

/// Sends each payload to one partition, and returns when all are acknowledged.
pub fn produce(bootstrap: &str, topic: &str, partition: i32, payloads: &[String]) -> Vec<Ack> {
    let producer = Producer::new(bootstrap, topic, &[("enable.idempotence", "true")]);
    for (id, payload) in payloads.iter().enumerate() {
        producer.send(producer.record(id, payload.as_bytes()).partition(partition));
    }
    producer.finish()
}

/// `count` payloads that tell where they belong.
pub fn numbered(stem: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{stem} {number}")).collect()
}

/// A record as a consumer saw it.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// The beginnings of key and value as text: a failing test prints records that may be long.
impl std::fmt::Debug for Seen {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map(|bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned())
        };
        let length = self.value.as_ref().map_or(0, Vec::len);
        write!(to, "offset {}, key {:?}, {length} bytes {:?}", self.offset, start(&self.key), start(&self.value))
    }
}

impl Seen {
    /// Copies what the tests look at.
    pub fn of(message: &BorrowedMessage<'_>) -> Seen {
        let key = message.key().map(<[u8]>::to_vec);
        Seen { offset: message.offset(), key, value: message.payload().map(<[u8]>::to_vec) }
    }

    /// The value as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.value.clone().expect("a value")).expect("the tests send UTF-8")
    }
}

/// The values as text, for comparing with what was sent.
pub fn texts(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(Seen::text).collect()
}

/// A consumer that takes its partitions by [`assign`] and commits nothing, with these settings over the usual ones. librdkafka wants a
/// group's name even so.
pub fn consumer(bootstrap: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(bootstrap);
    config.set("group.id", unique("reader")).set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().expect("a consumer")
}

/// The consumer's next record or error, if one comes within a moment. A connection that was lost is no error here: the client
/// connects again.
pub fn poll_once(consumer: &BaseConsumer) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
    match consumer.poll(Duration::from_millis(20)) {
        Some(Err(KafkaError::MessageConsumption(
            RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve,
        ))) => None,
        other => other,
    }
}

/// The consumer's next `count` records; any error fails the test.
pub fn next_records(consumer: &BaseConsumer, count: usize) -> Vec<(i32, Seen)> {
    let mut seen = Vec::with_capacity(count);
    let end = Instant::now() + DEADLINE;
    while seen.len() < count {
        assert!(Instant::now() < end, "waited {DEADLINE:?} in vain for record {} of {count}", seen.len() + 1);
        match poll_once(consumer) {
            Some(Ok(message)) => seen.push((message.partition(), Seen::of(&message))),
            Some(Err(error)) => panic!("after {} of {count} records: {error}", seen.len()),
            None => {}
        }
    }
    seen
}

/// Tells a consumer where to start in one partition.
pub fn assign(consumer: &BaseConsumer, topic: &str, partition: i32, offset: Offset) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, offset).expect("a valid offset");
    consumer.assign(&list).expect("the assignment is taken");
}

/// Reads `partitions` partitions from the beginning to the end that the broker reports.
pub fn read_all(bootstrap: &str, topic: &str, partitions: i32) -> Vec<Vec<Seen>> {
    let consumer = consumer(bootstrap, &[("enable.partition.eof", "true"), ("auto.offset.reset", "earliest")]);
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&list).expect("the assignment is taken");
    let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); partitions as usize];
    let mut ended = vec![false; partitions as usize];
    let end = Instant::now() + DEADLINE;
    while ended.contains(&false) {
        assert!(
            Instant::now() < end,
            "waited {DEADLINE:?} in vain for the end of {topic}: partitions at their end: {ended:?}"
        );
        match poll_once(&consumer) {
            Some(Ok(message)) => seen[message.partition() as usize].push(Seen::of(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => ended[partition as usize] = true,
            Some(Err(error)) => panic!("reading {topic}: {error}"),
            None => {}
        }
    }
    seen
}

/// The first offset of a partition and the one after its last record, as soon as the broker can tell them.
pub fn watermarks(bootstrap: &str, topic: &str, partition: i32) -> (i64, i64) {
    let consumer = consumer(bootstrap, &[]);
    wait_for("the partition's watermarks", || consumer.fetch_watermarks(topic, partition, Duration::from_secs(5)).ok())
}

/// A client for topics and configs.
pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    config(bootstrap).create().expect("an admin client")
}

/// Options with the usual deadline.
pub fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(Duration::from_secs(20))).operation_timeout(Some(Duration::from_secs(20)))
}

/// Creates one topic with one replica; the answer is the topic's own error, if any.
pub fn try_create_topic(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<(), RDKafkaErrorCode> {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in configs {
        new = new.set(key, value);
    }
    let admin = admin(bootstrap);
    let mut results = block_on(admin.create_topics([&new], &admin_options())).expect("an answer to CreateTopics");
    assert_eq!(results.len(), 1, "one topic, one answer");
    results.remove(0).map(drop).map_err(|(_, code)| code)
}

/// Creates one topic with one replica.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32) {
    try_create_topic(bootstrap, topic, partitions, &[]).expect("the topic is created");
}

/// Waits for one of librdkafka's futures, which its own threads complete.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let end = Instant::now() + DEADLINE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "waited {DEADLINE:?} in vain for the answer of an admin request");
        std::thread::park_timeout(left);
    }
}
