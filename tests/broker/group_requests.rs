//! The group APIs request by request, in versions and with errors that no client library would produce.

use bytes::Bytes;
use corelog::protocol::messages::delete_groups::DeleteGroupsRequest;
use corelog::protocol::messages::describe_groups::DescribeGroupsRequest;
use corelog::protocol::messages::find_coordinator::FindCoordinatorRequest;
use corelog::protocol::messages::heartbeat::HeartbeatRequest;
use corelog::protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use corelog::protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use corelog::protocol::messages::list_groups::ListGroupsRequest;
use corelog::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use corelog::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use corelog::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use corelog::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use corelog::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use corelog::protocol::{ErrorCode, KafkaString, Request, Writer, decode_response, write_request};
use corelog::vocabulary::TopicId;

use crate::client::{admin, admin_options, block_on, create_topic};
use crate::harness::{Broker, unique, wait_for};
use crate::wire::Wire;

/// Sends a request; its answer comes with [`answer_to`].
fn send<R: Request>(wire: &mut Wire, version: i16, request: &R) {
    let mut writer = Writer::new();
    write_request(&mut writer, version, 7, Some("raw".into()), request).expect("a small frame");
    wire.send(&writer.finish().into_bytes());
}

fn answer_to<R: Request>(wire: &mut Wire, version: i16) -> R::Response {
    let frame = Bytes::from(wire.receive());
    assert_eq!(frame[..4], 7_i32.to_be_bytes(), "the correlation id");
    // A flexible response header ends with its tagged fields, of which there are none.
    let header = 4 + R::KEY.response_header_version(version) as usize;
    decode_response::<R>(frame.slice(header..), version).expect("a response")
}

fn call<R: Request>(wire: &mut Wire, version: i16, request: &R) -> R::Response {
    send(wire, version, request);
    answer_to::<R>(wire, version)
}

/// A connection to the groups' coordinator, whose topic exists then.
fn connect(broker: &Broker) -> Wire {
    let mut wire = Wire::connect(broker.bootstrap());
    let request = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    let found = call(&mut wire, 4, &request);
    assert_eq!(found.coordinators[0].error_code, ErrorCode::None);
    wire
}

/// A join that needs no second one: from before member ids were given out first.
const JOIN_AT_ONCE: i16 = 3;

fn join_request(group: &str, member_id: &KafkaString) -> JoinGroupRequest {
    let protocols = vec![JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"meta") }];
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.clone(),
        protocol_type: "consumer".into(),
        protocols,
        ..Default::default()
    }
}

fn join(wire: &mut Wire, group: &str) -> JoinGroupResponse {
    call(wire, JOIN_AT_ONCE, &join_request(group, &KafkaString::default()))
}

/// Hands the only member its assignment.
fn sync_alone(wire: &mut Wire, group: &str, joined: &JoinGroupResponse) {
    let assignment =
        SyncGroupRequestAssignment { member_id: joined.member_id.clone(), assignment: Bytes::from_static(b"all") };
    let request = SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: vec![assignment],
        ..Default::default()
    };
    let synced = call(wire, 2, &request);
    assert_eq!((synced.error_code, synced.assignment), (ErrorCode::None, Bytes::from_static(b"all")));
}

fn heartbeat(wire: &mut Wire, group: &str, member_id: &KafkaString, generation_id: i32) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: group.into(),
        generation_id,
        member_id: member_id.clone(),
        group_instance_id: None,
    };
    call(wire, 4, &request).error_code
}

fn commit_request(group: &str, topic: &str, partition: i32, offset: i64, text: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset,
        committed_metadata: Some(text.into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..Default::default() }
}

fn commit(wire: &mut Wire, version: i16, request: &OffsetCommitRequest) -> ErrorCode {
    call(wire, version, request).topics[0].partitions[0].error_code
}

/// The group's offset of partition 0, or -1.
fn fetched(wire: &mut Wire, group: &str, topic: &str) -> i64 {
    let topic = OffsetFetchRequestTopic { name: topic.into(), partition_indexes: vec![0] };
    let request = OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
    let response = call(wire, 5, &request);
    assert_eq!(response.error_code, ErrorCode::None);
    response.topics[0].partitions[0].committed_offset
}

fn topic_id(wire: &mut Wire, topic: &str) -> TopicId {
    let topic = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    call(wire, 12, &MetadataRequest { topics: Some(vec![topic]), ..Default::default() }).topics[0].topic_id
}

#[test]
fn joins_that_make_no_sense_are_refused() {
    let broker = Broker::start();
    let mut wire = connect(&broker);
    let group = unique("group");
    let mut refused = |change: fn(&mut JoinGroupRequest)| {
        let mut request = join_request(&group, &KafkaString::default());
        change(&mut request);
        call(&mut wire, JOIN_AT_ONCE, &request).error_code
    };
    assert_eq!(refused(|request| request.group_id = "".into()), ErrorCode::InvalidGroupId);
    assert_eq!(refused(|request| request.session_timeout_ms = 5_999), ErrorCode::InvalidSessionTimeout);
    assert_eq!(refused(|request| request.session_timeout_ms = 1_800_001), ErrorCode::InvalidSessionTimeout);
    assert_eq!(refused(|request| request.member_id = "stranger".into()), ErrorCode::UnknownMemberId);
    assert_eq!(refused(|request| request.protocols.clear()), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused(|request| request.protocol_type = "".into()), ErrorCode::InconsistentGroupProtocol);
    let told = call(&mut wire, 4, &join_request(&group, &KafkaString::default()));
    assert_eq!(told.error_code, ErrorCode::MemberIdRequired);
    assert!(told.member_id.starts_with("raw-"), "{}", told.member_id);
    assert_eq!(heartbeat(&mut wire, "", &"m".into(), 1), ErrorCode::InvalidGroupId);
    assert_eq!(heartbeat(&mut wire, &unique("group"), &"m".into(), 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_waiting_join_ends_when_the_broker_stops() {
    let Some(mut broker) = Broker::start_own() else { return };
    // Several connections and groups, so that both shards have waiting ones, here and for the other.
    let mut wires: Vec<Wire> = (0..4).map(|_| connect(&broker)).collect();
    for wire in &mut wires {
        send(wire, JOIN_AT_ONCE, &join_request(&unique("group"), &KafkaString::default()));
    }
    let mut observer = connect(&broker);
    wait_for("all joins wait", || {
        let request = ListGroupsRequest { states_filter: vec!["preparingrebalance".into()], ..Default::default() };
        (call(&mut observer, 4, &request).groups.len() == 4).then_some(())
    });
    broker.stop();
    for mut wire in wires {
        let answer = answer_to::<JoinGroupRequest>(&mut wire, JOIN_AT_ONCE);
        assert_eq!(answer.error_code, ErrorCode::NotCoordinator, "the member finds its way to the next coordinator");
    }
}

#[test]
fn a_member_that_vanishes_while_it_joins_is_forgotten_when_its_time_is_over() {
    let broker = Broker::start();
    let group = unique("group");
    let mut vanishing = connect(&broker);
    send(&mut vanishing, JOIN_AT_ONCE, &join_request(&group, &KafkaString::default()));
    let mut other = connect(&broker);
    let members = |wire: &mut Wire| {
        let request = DescribeGroupsRequest { groups: vec![group.as_str().into()], ..Default::default() };
        let mut described = call(wire, 5, &request).groups.remove(0);
        described.members.retain(|member| member.client_id == "raw");
        (described.group_state.to_string(), described.members.len())
    };
    wait_for("the member is there", || (members(&mut other).1 == 1).then_some(()));
    drop(vanishing);
    // It is part of the generation, and then silent for a session.
    wait_for("the member is forgotten", || (members(&mut other) == ("Empty".to_owned(), 0)).then_some(()));
}

#[test]
fn a_generation_survives_kill_9_and_its_members_go_on() {
    let Some(mut broker) = Broker::start_own() else { return };
    let (topic, group) = (unique("topic"), unique("group"));
    create_topic(broker.bootstrap(), &topic, 1);
    let mut wire = connect(&broker);
    let joined = join(&mut wire, &group);
    assert_eq!((joined.error_code, joined.generation_id, &joined.leader), (ErrorCode::None, 1, &joined.member_id));
    sync_alone(&mut wire, &group, &joined);
    let mut request = commit_request(&group, &topic, 0, 42, "mine");
    (request.member_id, request.generation_id_or_member_epoch) = (joined.member_id.clone(), 1);
    assert_eq!(commit(&mut wire, 8, &request), ErrorCode::None);
    for _ in 0..2 {
        broker.kill9();
        broker.restart();
        let mut wire = Wire::connect(broker.bootstrap());
        assert_eq!(heartbeat(&mut wire, &group, &joined.member_id, 1), ErrorCode::None);
        assert_eq!(heartbeat(&mut wire, &group, &joined.member_id, 0), ErrorCode::IllegalGeneration);
        request.topics[0].partitions[0].committed_offset += 1;
        assert_eq!(commit(&mut wire, 8, &request), ErrorCode::None);
        let again = SyncGroupRequest {
            group_id: group.as_str().into(),
            generation_id: 1,
            member_id: joined.member_id.clone(),
            ..Default::default()
        };
        assert_eq!(call(&mut wire, 2, &again).assignment, "all");
    }
    let mut wire = Wire::connect(broker.bootstrap());
    assert_eq!(fetched(&mut wire, &group, &topic), 44);
}

#[test]
fn commits_are_checked_against_the_group() {
    let broker = Broker::start();
    let (topic, group) = (unique("topic"), unique("group"));
    create_topic(broker.bootstrap(), &topic, 1);
    let mut wire = connect(&broker);
    let missing = OffsetCommitRequest {
        generation_id_or_member_epoch: 5,
        member_id: "m".into(),
        ..commit_request(&unique("group"), &topic, 0, 1, "")
    };
    assert_eq!(commit(&mut wire, 8, &missing), ErrorCode::IllegalGeneration);
    assert_eq!(commit(&mut wire, 9, &missing), ErrorCode::GroupIdNotFound);

    let joined = join(&mut wire, &group);
    let simple = commit_request(&group, &topic, 0, 1, "");
    assert_eq!(commit(&mut wire, 8, &simple), ErrorCode::UnknownMemberId, "a group with members takes no others'");
    let of_member = |generation: i32| OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: joined.member_id.clone(),
        ..commit_request(&group, &topic, 0, 1, "")
    };
    assert_eq!(commit(&mut wire, 8, &of_member(1)), ErrorCode::RebalanceInProgress, "before the assignment");
    sync_alone(&mut wire, &group, &joined);
    assert_eq!(commit(&mut wire, 8, &of_member(0)), ErrorCode::IllegalGeneration);
    assert_eq!(commit(&mut wire, 8, &of_member(1)), ErrorCode::None);

    let leaving = LeaveGroupRequest {
        group_id: group.as_str().into(),
        members: vec![
            MemberIdentity { member_id: "stranger".into(), ..Default::default() },
            MemberIdentity { member_id: joined.member_id.clone(), ..Default::default() },
        ],
        ..Default::default()
    };
    let left = call(&mut wire, 5, &leaving);
    let codes: Vec<ErrorCode> = left.members.iter().map(|member| member.error_code).collect();
    assert_eq!(codes, [ErrorCode::UnknownMemberId, ErrorCode::None]);
    assert_eq!(commit(&mut wire, 8, &simple), ErrorCode::None, "an empty group takes anybody's");
    let nobody =
        LeaveGroupRequest { group_id: group.as_str().into(), member_id: joined.member_id, ..Default::default() };
    assert_eq!(call(&mut wire, 2, &nobody).error_code, ErrorCode::UnknownMemberId);
}

#[test]
fn commits_are_checked_against_topics_and_limits() {
    let broker = Broker::start();
    let (topic, group) = (unique("topic"), unique("group"));
    create_topic(broker.bootstrap(), &topic, 1);
    let mut wire = connect(&broker);
    let code = |wire: &mut Wire, topic: &str, partition, text: &str| {
        commit(wire, 8, &commit_request(&group, topic, partition, 1, text))
    };
    assert_eq!(code(&mut wire, &unique("none"), 0, ""), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&mut wire, &topic, 1, ""), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&mut wire, &topic, -1, ""), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&mut wire, &topic, 0, &"x".repeat(4097)), ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(code(&mut wire, &topic, 0, &"ä".repeat(4096)), ErrorCode::None, "characters count, not bytes");
    let mut by_id = commit_request(&group, "", 0, 17, "by id");
    by_id.topics[0].topic_id = TopicId([9; 16]);
    assert_eq!(commit(&mut wire, 10, &by_id), ErrorCode::UnknownTopicId);
    by_id.topics[0].topic_id = topic_id(&mut wire, &topic);
    assert_eq!(commit(&mut wire, 10, &by_id), ErrorCode::None);
    assert_eq!(fetched(&mut wire, &group, &topic), 17);
}

#[test]
fn offsets_are_fetched_in_every_form() {
    let broker = Broker::start();
    let (topic, group) = (unique("topic"), unique("group"));
    create_topic(broker.bootstrap(), &topic, 2);
    let mut wire = connect(&broker);
    for partition in 0..2 {
        let request = commit_request(&group, &topic, partition, 10 + i64::from(partition), "text");
        assert_eq!(commit(&mut wire, 8, &request), ErrorCode::None);
    }
    // All, of one group.
    let all = OffsetFetchRequest { group_id: group.as_str().into(), topics: None, ..Default::default() };
    let found = call(&mut wire, 7, &all);
    assert_eq!((found.topics.len(), found.topics[0].partitions.len()), (1, 2));
    assert_eq!(found.topics[0].partitions[1].committed_offset, 11);
    assert_eq!(found.topics[0].partitions[1].metadata.as_deref(), Some("text"));
    // Several groups, by name and by id.
    let wanted = |name: &str, topic_id, group: &str| OffsetFetchRequestGroup {
        group_id: group.into(),
        topics: Some(vec![OffsetFetchRequestTopics { name: name.into(), topic_id, partition_indexes: vec![1, 5] }]),
        ..Default::default()
    };
    let nobody = unique("group");
    let groups = vec![wanted(&topic, TopicId::ZERO, &group), wanted(&topic, TopicId::ZERO, &nobody)];
    let found = call(&mut wire, 9, &OffsetFetchRequest { groups, require_stable: true, ..Default::default() });
    let offsets = |group: usize| -> Vec<i64> {
        found.groups[group].topics[0].partitions.iter().map(|partition| partition.committed_offset).collect()
    };
    assert_eq!((offsets(0), offsets(1)), (vec![11, -1], vec![-1, -1]));
    let id = topic_id(&mut wire, &topic);
    let groups = vec![wanted("", id, &group), wanted("", TopicId([9; 16]), &group)];
    let found = call(&mut wire, 10, &OffsetFetchRequest { groups, ..Default::default() });
    assert_eq!(found.groups[0].topics[0].partitions[0].committed_offset, 11);
    assert_eq!(found.groups[1].topics[0].partitions[0].error_code, ErrorCode::UnknownTopicId);
    let groups = vec![OffsetFetchRequestGroup { group_id: group.as_str().into(), topics: None, ..Default::default() }];
    let found = call(&mut wire, 10, &OffsetFetchRequest { groups, ..Default::default() });
    assert_eq!((found.groups[0].topics[0].topic_id, found.groups[0].topics[0].partitions.len()), (id, 2));
}

#[test]
fn groups_are_listed_and_described() {
    let broker = Broker::start();
    let (topic, simple, group) = (unique("topic"), unique("simple"), unique("group"));
    create_topic(broker.bootstrap(), &topic, 1);
    let mut wire = connect(&broker);
    assert_eq!(commit(&mut wire, 8, &commit_request(&simple, &topic, 0, 1, "")), ErrorCode::None);
    let joined = join(&mut wire, &group);
    sync_alone(&mut wire, &group, &joined);
    let mut list = |states: &[&str], types: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.into()).collect();
        let request = ListGroupsRequest { states_filter: texts(states), types_filter: texts(types) };
        let mut listed: Vec<_> = call(&mut wire, 5, &request).groups.into_iter().collect();
        listed.retain(|listed| listed.group_id == *simple || listed.group_id == *group);
        listed.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        listed
    };
    let all = list(&[], &[]);
    assert_eq!(all.len(), 2);
    assert_eq!((&*all[0].group_state, &*all[0].protocol_type, &*all[0].group_type), ("Stable", "consumer", "classic"));
    assert_eq!((&*all[1].group_state, &*all[1].protocol_type), ("Empty", ""));
    assert_eq!(list(&["STABLE", "Dead"], &["Classic"]).len(), 1);
    assert_eq!(list(&["Dead"], &[]).len(), 0);
    assert_eq!(list(&[], &["consumer"]).len(), 0);

    let request = DescribeGroupsRequest {
        groups: vec![group.as_str().into(), unique("none").into()],
        include_authorized_operations: true,
    };
    let described = call(&mut wire, 6, &request).groups;
    assert_eq!((&*described[0].group_state, &*described[0].protocol_data), ("Stable", "range"));
    let member = &described[0].members[0];
    assert_eq!((&*member.client_id, &*member.client_host), ("raw", "/127.0.0.1"));
    assert_eq!((&member.member_metadata, &member.member_assignment), (&"meta".into(), &"all".into()));
    assert_eq!(described[0].authorized_operations, 3400);
    assert_eq!((described[1].error_code, &*described[1].group_state), (ErrorCode::GroupIdNotFound, "Dead"));
    let before = call(&mut wire, 5, &request).groups;
    assert_eq!((before[1].error_code, &*before[1].group_state), (ErrorCode::None, "Dead"));

    let delete = DeleteGroupsRequest { groups_names: vec![group.as_str().into(), simple.as_str().into()] };
    let codes = |wire: &mut Wire| -> Vec<ErrorCode> {
        call(wire, 2, &delete).results.iter().map(|result| result.error_code).collect()
    };
    assert_eq!(codes(&mut wire), [ErrorCode::NonEmptyGroup, ErrorCode::None]);
    assert_eq!(codes(&mut wire), [ErrorCode::NonEmptyGroup, ErrorCode::GroupIdNotFound]);
    assert_eq!(fetched(&mut wire, &simple, &topic), -1);
}

#[test]
fn single_offsets_are_deleted_and_those_of_deleted_topics_go() {
    let Some(mut broker) = Broker::start_own() else { return };
    let (kept, gone, group) = (unique("kept"), unique("gone"), unique("group"));
    create_topic(broker.bootstrap(), &kept, 1);
    create_topic(broker.bootstrap(), &gone, 1);
    let mut wire = connect(&broker);
    for topic in [&kept, &gone] {
        assert_eq!(commit(&mut wire, 8, &commit_request(&group, topic, 0, 5, "")), ErrorCode::None);
    }
    let delete = |wire: &mut Wire, group: &str, topic: &str, partition: i32| {
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: partition }];
        let topics = vec![OffsetDeleteRequestTopic { name: topic.into(), partitions }];
        let response = call(wire, 0, &OffsetDeleteRequest { group_id: group.into(), topics });
        match response.error_code {
            ErrorCode::None => response.topics[0].partitions[0].error_code,
            error => error,
        }
    };
    assert_eq!(delete(&mut wire, "", &kept, 0), ErrorCode::InvalidGroupId);
    assert_eq!(delete(&mut wire, &unique("none"), &kept, 0), ErrorCode::GroupIdNotFound);
    assert_eq!(delete(&mut wire, &group, &unique("none"), 0), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete(&mut wire, &group, &kept, 0), ErrorCode::None);
    assert_eq!(fetched(&mut wire, &group, &kept), -1);

    let admin = admin(broker.bootstrap());
    block_on(admin.delete_topics(&[gone.as_str()], &admin_options())).expect("an answer")[0].clone().expect("deleted");
    wait_for("the deleted topic's offset goes", || (fetched(&mut wire, &group, &gone) == -1).then_some(()));
    create_topic(broker.bootstrap(), &gone, 1);
    for _ in 0..2 {
        let mut wire = Wire::connect(broker.bootstrap());
        assert_eq!((fetched(&mut wire, &group, &gone), fetched(&mut wire, &group, &kept)), (-1, -1));
        broker.kill9();
        broker.restart();
    }
}

#[test]
fn before_the_offsets_topic_exists_nobody_coordinates() {
    let Some(broker) = Broker::start_own() else { return };
    let mut wire = Wire::connect(broker.bootstrap());
    assert_eq!(join(&mut wire, "g").error_code, ErrorCode::NotCoordinator);
    assert_eq!(heartbeat(&mut wire, "g", &"m".into(), 1), ErrorCode::NotCoordinator);
    assert_eq!(call(&mut wire, 5, &ListGroupsRequest::default()).groups, []);
}
