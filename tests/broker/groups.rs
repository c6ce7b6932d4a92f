//! Consumer groups: members share partitions, and what they committed outlives them and the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::groups::GroupList;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{
    admin, admin_options, block_on, config, consumer, create_topic, next_records, numbered, poll_once, produce,
};
use crate::harness::{Broker, unique, wait_for};

const PARTITIONS: i32 = 4;

/// A member of `group` that has subscribed, and commits only what it is told to.
fn member(bootstrap: &str, group: &str, topic: &str) -> BaseConsumer {
    let mut config = config(bootstrap);
    config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "200").set("fetch.wait.max.ms", "50");
    let member: BaseConsumer = config.create().expect("a consumer");
    member.subscribe(&[topic]).expect("a subscription");
    member
}

fn assigned(member: &BaseConsumer) -> BTreeSet<i32> {
    let assignment = member.assignment().expect("the assignment");
    assignment.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}

/// Polls all members until each holds as many partitions as `shares` says in some order, each partition once; collects what comes.
fn rebalance(members: &[&BaseConsumer], shares: &[usize], came: &mut BTreeMap<(i32, i64), String>) {
    wait_for(&format!("{PARTITIONS} partitions shared as {shares:?}"), || {
        for member in members {
            match poll_once(member) {
                Some(Ok(message)) => {
                    let text = String::from_utf8(message.payload().expect("a value").to_vec()).expect("UTF-8");
                    came.insert((message.partition(), message.offset()), text);
                }
                Some(Err(error)) => panic!("a member in a rebalance: {error}"),
                None => {}
            }
        }
        let held: Vec<_> = members.iter().map(|member| assigned(member)).collect();
        let mut counts: Vec<_> = held.iter().map(BTreeSet::len).collect();
        counts.sort_unstable();
        let all: BTreeSet<i32> = held.into_iter().flatten().collect();
        (counts == shares && all == (0..PARTITIONS).collect()).then_some(())
    });
}

fn group_list(bootstrap: &str, group: &str) -> GroupList {
    let observer = consumer(bootstrap, &[]);
    wait_for("the group's description", || observer.fetch_group_list(Some(group), Duration::from_secs(5)).ok())
}

#[test]
fn members_come_and_go_and_share_all_partitions() {
    let broker = Broker::start();
    let (topic, group) = (unique("shared"), unique("group"));
    create_topic(broker.bootstrap(), &topic, PARTITIONS);
    let mut came = BTreeMap::new();

    let first = member(broker.bootstrap(), &group, &topic);
    rebalance(&[&first], &[4], &mut came);
    let second = member(broker.bootstrap(), &group, &topic);
    rebalance(&[&first, &second], &[2, 2], &mut came);
    let third = member(broker.bootstrap(), &group, &topic);
    rebalance(&[&first, &second, &third], &[1, 1, 2], &mut came);

    wait_for("the group is described as stable, with three members", || {
        let list = group_list(broker.bootstrap(), &group);
        let found = list.groups().iter().find(|found| found.name() == group)?;
        (found.state() == "Stable" && found.members().len() == 3).then_some(())
    });

    // Dropping a member sends LeaveGroup: the others need not wait for its session's end.
    drop(third);
    rebalance(&[&first, &second], &[2, 2], &mut came);

    let mut sent = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let payloads = numbered(&format!("partition {partition}, record"), 250);
        for ack in produce(broker.bootstrap(), &topic, partition, &payloads) {
            sent.insert((partition, ack.offset), payloads[ack.id].clone());
        }
    }
    let members = [&first, &second];
    wait_for("both members together have all records", || {
        for member in members {
            if let Some(polled) = poll_once(member) {
                let message = polled.expect("a record");
                let text = String::from_utf8(message.payload().expect("a value").to_vec()).expect("UTF-8");
                assert!(assigned(member).contains(&message.partition()), "a record from another member's partition");
                let before = came.insert((message.partition(), message.offset()), text);
                assert_eq!(before, None, "each record goes to one member, once");
            }
        }
        (came.len() >= sent.len()).then_some(())
    });
    assert_eq!(came, sent);
}

#[test]
fn committed_offsets_survive_a_clean_restart() {
    committed_offsets_survive(|broker| broker.stop());
}

#[test]
fn committed_offsets_survive_kill_9() {
    committed_offsets_survive(Broker::kill9);
}

/// Reads a part, commits it, ends the broker; the group's next member goes on there, and so over several rounds.
fn committed_offsets_survive(end: impl Fn(&mut Broker)) {
    const STEP: usize = 100;
    let Some(mut broker) = Broker::start_own() else { return };
    let (topic, group) = (unique("resumed"), unique("group"));
    create_topic(broker.bootstrap(), &topic, 1);
    let payloads = numbered("record", 3 * STEP);
    produce(broker.bootstrap(), &topic, 0, &payloads);
    for round in 0..3 {
        let reader = member(broker.bootstrap(), &group, &topic);
        let expected = round * STEP..(round + 1) * STEP;
        for ((_, record), position) in next_records(&reader, STEP).into_iter().zip(expected.clone()) {
            assert_eq!((record.offset, record.text()), (position as i64, payloads[position].clone()), "round {round}");
        }
        commit(&reader, &topic, 0, expected.end as i64);
        // The member leaves before the broker ends: its next one joins an empty group, without waiting for a session's end.
        drop(reader);
        end(&mut broker);
        broker.restart();
        assert_eq!(
            committed(broker.bootstrap(), &group, &topic, 0),
            Offset::Offset(expected.end as i64),
            "round {round}"
        );
    }
}

/// Commits one offset, and returns when the broker has acknowledged it.
fn commit(consumer: &BaseConsumer, topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("a valid offset");
    consumer.commit(&list, CommitMode::Sync).expect("the commit is acknowledged");
}

/// What the broker holds as the group's offset.
fn committed(bootstrap: &str, group: &str, topic: &str, partition: i32) -> Offset {
    let reader = consumer(bootstrap, &[("group.id", group)]);
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    // Right after a restart the coordinator may still be loading.
    let found = wait_for("the group's committed offset", || {
        reader.committed_offsets(list.clone(), Duration::from_secs(5)).ok()
    });
    found.find_partition(topic, partition).expect("the partition that was asked for").offset()
}

#[test]
fn a_commit_without_membership_is_kept_for_each_group_apart() {
    let broker = Broker::start();
    let topic = unique("simple");
    create_topic(broker.bootstrap(), &topic, 2);
    let groups = [unique("group"), unique("group"), unique("group")];
    for (number, group) in groups[..2].iter().enumerate() {
        let simple = consumer(broker.bootstrap(), &[("group.id", group)]);
        commit(&simple, &topic, 0, 7 + number as i64);
        commit(&simple, &topic, 1, 70 + number as i64);
        commit(&simple, &topic, 0, 17 + number as i64);
    }
    let held = |group: &str, partition| committed(broker.bootstrap(), group, &topic, partition);
    assert_eq!((held(&groups[0], 0), held(&groups[0], 1)), (Offset::Offset(17), Offset::Offset(70)));
    assert_eq!((held(&groups[1], 0), held(&groups[1], 1)), (Offset::Offset(18), Offset::Offset(71)));
    assert_eq!((held(&groups[2], 0), held(&groups[2], 1)), (Offset::Invalid, Offset::Invalid), "nothing was committed");
}

#[test]
fn a_group_is_deleted_only_when_it_is_empty() {
    let broker = Broker::start();
    let (topic, group) = (unique("deleted"), unique("group"));
    create_topic(broker.bootstrap(), &topic, PARTITIONS);
    let only = member(broker.bootstrap(), &group, &topic);
    rebalance(&[&only], &[4], &mut BTreeMap::new());
    commit(&only, &topic, 0, 5);

    let admin = admin(broker.bootstrap());
    let options: AdminOptions = admin_options();
    let delete = || {
        let mut results =
            block_on(admin.delete_groups(&[group.as_str()], &options)).expect("an answer to DeleteGroups");
        results.remove(0).map(drop).map_err(|(_, code)| code)
    };
    assert_eq!(delete(), Err(RDKafkaErrorCode::NonEmptyGroup));
    drop(only);
    assert_eq!(delete(), Ok(()));
    assert_eq!(committed(broker.bootstrap(), &group, &topic, 0), Offset::Invalid, "the offsets went with the group");
    assert_eq!(delete(), Err(RDKafkaErrorCode::GroupIdNotFound));
}
