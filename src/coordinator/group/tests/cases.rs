//! Case by case.

use super::*;

fn leaving(member_id: &str, instance: Option<&str>) -> LeavingMember {
    LeavingMember { member_id: member_id.into(), group_instance_id: instance.map(Into::into), reason: None }
}

#[test]
fn a_first_rebalance_waits_for_its_delay_and_is_extended_by_joins_up_to_the_rebalance_timeout() {
    let mut bench = Bench::new();
    bench.settings.initial_rebalance_delay_ms = 3_000;
    let mut first = request("a");
    first.id_first = false;
    first.rebalance_timeout_ms = 10_000;
    let waiter = bench.join(&first);
    bench.pass(2_999);
    assert!(bench.joins.is_empty());
    let mut names = vec![waiter];
    // Somebody comes in each part of the delay: 3 s, 3 s, 3 s, and what is left of the 10 s.
    for (suffix, ms) in [("b", 3_000), ("c", 3_000), ("d", 1_000)] {
        let mut next = request(suffix);
        (next.id_first, next.rebalance_timeout_ms) = (false, 10_000);
        names.push(bench.join(&next));
        bench.pass(ms);
        assert!(bench.joins.is_empty(), "the delay goes on");
    }
    bench.pass(1);
    let answers: Vec<JoinAnswer> = names.iter().map(|waiter| bench.joins.remove(waiter).expect("answered")).collect();
    assert!(answers.iter().all(|answer| (answer.error, answer.generation) == (ErrorCode::None, 1)));
    assert_eq!(answers[0].members.len(), 4, "the leader, who came first, is told of all");
    assert!(answers[1..].iter().all(|answer| answer.members.is_empty() && answer.leader == answers[0].member_id));
}

#[test]
fn without_further_joins_the_first_rebalance_ends_after_one_delay() {
    let mut bench = Bench::new();
    let (waiter, _) = bench.join_dynamic("a");
    bench.pass(3_000);
    assert_eq!(bench.joins[&waiter].generation, 1);
    assert_eq!(bench.joins[&waiter].protocol.as_deref(), Some("range"));
}

#[test]
fn an_unused_member_id_is_forgotten_and_holds_nobody_up_for_longer() {
    let mut bench = Bench::new();
    let unused = bench.join(&request("late"));
    assert_eq!(bench.joins[&unused].error, ErrorCode::MemberIdRequired);
    assert!(!bench.group.is_vain());
    bench.pass(10_000);
    assert!(bench.group.is_vain());
    let mut late = request("late");
    late.member_id = bench.joins[&unused].member_id.clone();
    let refused = bench.join(&late);
    assert_eq!(bench.joins[&refused].error, ErrorCode::UnknownMemberId);
}

#[test]
fn assignments_are_handed_out_when_they_are_durable() {
    let mut bench = Bench::new();
    let joined = ["a", "b"].map(|name| bench.join_dynamic(name));
    bench.pass(6_000);
    let [a, b] = joined.map(|(_, id)| id);
    let follower = bench.sync(&sync_request(&b, 1));
    let mut leads = sync_request(&a, 1);
    leads.assignments = vec![(a.clone(), assignment_of(&a)), (b.clone(), assignment_of(&b))];
    let leader = bench.sync(&leads);
    assert!(bench.syncs.is_empty(), "nothing is durable yet");
    assert_eq!(bench.group.state_name(), "CompletingRebalance");
    let value = &bench.writes[0].1;
    assert_eq!((value.generation, value.members.len(), value.leader.as_deref()), (1, 2, Some(&*a)));
    assert_eq!(value.members[1].assignment, assignment_of(&b));
    assert_eq!(value.members[1].subscription, &b"r"[..]);
    bench.write_all();
    assert_eq!(bench.syncs[&follower].assignment, assignment_of(&b));
    assert_eq!(bench.syncs[&leader].assignment, assignment_of(&a));
    assert_eq!(bench.group.state_name(), "Stable");
    // Who missed the answer asks again.
    let again = bench.sync(&sync_request(&b, 1));
    assert_eq!(bench.syncs[&again].assignment, assignment_of(&b));
}

#[test]
fn an_assignment_that_cannot_be_written_reaches_nobody() {
    let mut bench = Bench::new();
    let (_, a) = bench.join_dynamic("a");
    bench.pass(3_000);
    let mut leads = sync_request(&a, 1);
    leads.assignments = vec![(a.clone(), assignment_of(&a))];
    let waiter = bench.sync(&leads);
    let (write, _) = bench.writes.remove(0);
    bench.step(|group, step| group.stored(write, Err(ErrorCode::NotCoordinator), step));
    assert_eq!(bench.syncs[&waiter], SyncAnswer::refused(ErrorCode::NotCoordinator));
    assert_eq!(bench.group.state_name(), "PreparingRebalance");
}

#[test]
fn a_write_that_a_rebalance_has_overtaken_changes_nothing() {
    let mut bench = Bench::new();
    let (_, a) = bench.join_dynamic("a");
    bench.pass(3_000);
    let waiter = bench.sync(&sync_request(&a, 1));
    bench.join_dynamic("b");
    assert_eq!(bench.syncs[&waiter].error, ErrorCode::RebalanceInProgress);
    bench.write_all();
    assert_eq!(bench.group.state_name(), "PreparingRebalance");
    assert!(bench.group.members.values().all(|member| member.assignment.is_empty()));
}

#[test]
fn a_newcomer_makes_members_rejoin_and_who_does_not_is_left_behind() {
    let (mut bench, ids) = Bench::stable(&["a", "b"]);
    let (newcomer, _) = bench.join_dynamic("c");
    for id in &ids {
        let beat = bench.step(|group, step| group.heartbeat(id, None, 1, step));
        assert_eq!(beat, Err(ErrorCode::RebalanceInProgress));
    }
    let mut again = request("a");
    again.member_id = ids[0].clone();
    let rejoined = bench.join(&again);
    assert!(!bench.joins.contains_key(&rejoined));
    // "b" goes on with heartbeats and does not rejoin.
    for _ in 0..12 {
        bench.pass(5_000);
        let _ = bench.step(|group, step| group.heartbeat(&ids[1], None, 1, step));
    }
    assert_eq!(bench.joins[&rejoined].generation, 2);
    assert_eq!(bench.joins[&newcomer].generation, 2);
    assert_eq!(bench.group.members.len(), 2);
    let beat = bench.step(|group, step| group.heartbeat(&ids[1], None, 1, step));
    assert_eq!(beat, Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_silent_member_is_removed_after_its_session_and_the_others_rebalance() {
    let (mut bench, ids) = Bench::stable(&["a", "b"]);
    for _ in 0..3 {
        bench.pass(4_000);
        let _ = bench.step(|group, step| group.heartbeat(&ids[0], None, 1, step));
    }
    assert_eq!(bench.group.members.keys().collect::<Vec<_>>(), [&ids[0]]);
    assert_eq!(bench.group.state_name(), "PreparingRebalance");
    bench.pass(20_000);
    assert_eq!(bench.group.state_name(), "Empty", "the other fell silent too");
    let value = &bench.writes.last().expect("that it is empty is written").1;
    assert_eq!((value.members.len(), value.generation, &value.protocol), (0, 2, &None));
}

#[test]
fn generations_and_members_are_checked() {
    let (mut bench, ids) = Bench::stable(&["a"]);
    let beat =
        |bench: &mut Bench, id: &str, generation| bench.step(|group, step| group.heartbeat(id, None, generation, step));
    assert_eq!(beat(&mut bench, &ids[0], 1), Ok(()));
    assert_eq!(beat(&mut bench, &ids[0], 0), Err(ErrorCode::IllegalGeneration));
    assert_eq!(beat(&mut bench, "stranger", 1), Err(ErrorCode::UnknownMemberId));
    for (generation, id, error) in
        [(2, &*ids[0], ErrorCode::IllegalGeneration), (1, "stranger", ErrorCode::UnknownMemberId)]
    {
        let waiter = bench.sync(&sync_request(id, generation));
        assert_eq!(bench.syncs[&waiter].error, error);
    }
    let mut wrong = sync_request(&ids[0], 1);
    wrong.protocol = Some("sticky".into());
    let waiter = bench.sync(&wrong);
    assert_eq!(bench.syncs[&waiter].error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn protocols_must_have_one_in_common_and_the_most_liked_wins() {
    let mut bench = Bench::new();
    let mut joined = Vec::new();
    for (name, protocols) in [
        ("a", vec![protocol("range", b""), protocol("sticky", b"")]),
        ("b", vec![protocol("sticky", b""), protocol("range", b"")]),
        ("c", vec![protocol("own", b""), protocol("sticky", b""), protocol("range", b"")]),
    ] {
        let request = JoinRequest { protocols, id_first: false, ..request(name) };
        joined.push(bench.join(&request));
    }
    let stranger = JoinRequest { protocols: vec![protocol("own", b"")], ..request("d") };
    let waiter = bench.join(&stranger);
    assert_eq!(bench.joins[&waiter].error, ErrorCode::InconsistentGroupProtocol);
    let other_type = JoinRequest { protocol_type: "connect".into(), ..request("e") };
    let waiter = bench.join(&other_type);
    assert_eq!(bench.joins[&waiter].error, ErrorCode::InconsistentGroupProtocol);
    bench.pass(6_000);
    assert_eq!(bench.joins[&joined[0]].protocol.as_deref(), Some("sticky"));
    let none = JoinRequest { protocols: vec![], ..request("f") };
    let mut empty = Bench::new();
    let waiter = empty.join(&none);
    assert_eq!(empty.joins[&waiter].error, ErrorCode::InconsistentGroupProtocol);
    assert!(empty.group.is_vain());
}

#[test]
fn a_follower_that_rejoins_unchanged_is_told_the_generation_and_a_leader_makes_a_new_one() {
    let (mut bench, ids) = Bench::stable(&["a", "b"]);
    let mut follower = request("b");
    follower.member_id = ids[1].clone();
    let waiter = bench.join(&follower);
    assert_eq!((bench.joins[&waiter].generation, bench.group.state_name()), (1, "Stable"));
    let mut leader = request("a");
    leader.member_id = ids[0].clone();
    let waiter = bench.join(&leader);
    assert_eq!(bench.group.state_name(), "PreparingRebalance");
    assert!(!bench.joins.contains_key(&waiter));
}

#[test]
fn members_leave_one_by_one_or_together() {
    let (mut bench, ids) = Bench::stable(&["a", "b", "c"]);
    let results = bench.step(|group, step| {
        group.leave(&[leaving(&ids[0], None), leaving("stranger", None), leaving(&ids[2], None)], step)
    });
    assert_eq!(results, [ErrorCode::None, ErrorCode::UnknownMemberId, ErrorCode::None]);
    assert_eq!((bench.group.state_name(), bench.group.members.len()), ("PreparingRebalance", 1));
    let results = bench.step(|group, step| group.leave(&[leaving(&ids[1], None)], step));
    assert_eq!((results, bench.group.state_name()), (vec![ErrorCode::None], "Empty"));
    bench.pass(3_600_000);
    assert_eq!(bench.group.wake_ms, None, "nothing is left to wait for");
}

#[test]
fn a_group_has_at_most_its_size() {
    let (mut bench, _) = Bench::stable(&["a", "b"]);
    bench.settings.size_max = 2;
    let waiter = bench.join(&request("c"));
    assert_eq!(bench.joins[&waiter].error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn commits_need_the_generation_or_an_empty_group() {
    let mut bench = Bench::new();
    let commit =
        |bench: &mut Bench, id: &str, generation| bench.step(|group, step| group.commit(id, None, generation, step));
    assert_eq!(commit(&mut bench, "", -1), Ok(()));
    assert_eq!(commit(&mut bench, "m", 1), Err(ErrorCode::UnknownMemberId));
    let (waiter, id) = bench.join_dynamic("a");
    bench.pass(3_000);
    assert_eq!(bench.joins[&waiter].generation, 1);
    assert_eq!(commit(&mut bench, &id, 1), Err(ErrorCode::RebalanceInProgress));
    bench.sync_all(std::slice::from_ref(&id));
    assert_eq!(commit(&mut bench, &id, 1), Ok(()));
    assert_eq!(commit(&mut bench, &id, 0), Err(ErrorCode::IllegalGeneration));
    assert_eq!(commit(&mut bench, "", -1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(commit(&mut bench, &id, -1), Err(ErrorCode::IllegalGeneration));
    // While the group prepares, a member may commit what it read: it still owns its partitions.
    bench.join_dynamic("b");
    assert_eq!(commit(&mut bench, &id, 1), Ok(()));
}

fn stable_with_static() -> (Bench, KafkaString) {
    let mut bench = Bench::new();
    let waiter = bench.join(&static_request("i", "one"));
    bench.pass(3_000);
    let id = bench.joins.remove(&waiter).expect("joined").member_id;
    assert_eq!(id, "i-one");
    bench.sync_all(std::slice::from_ref(&id));
    (bench, id)
}

#[test]
fn a_static_member_comes_back_under_a_new_id_without_a_rebalance_and_the_old_one_is_fenced() {
    let (mut bench, old_id) = stable_with_static();
    let waiter = bench.join(&static_request("i", "two"));
    assert!(!bench.joins.contains_key(&waiter), "not before it is durable");
    assert_eq!(bench.writes[0].1.members[0].member_id, "i-two");
    bench.write_all();
    let answer = &bench.joins[&waiter];
    assert_eq!((answer.error, answer.generation, &*answer.member_id), (ErrorCode::None, 1, "i-two"));
    assert!(answer.skip_assignment);
    assert_eq!((&*answer.leader, answer.members.len()), ("i-two", 1));
    assert_eq!(bench.group.state_name(), "Stable");
    let beat = bench.step(|group, step| group.heartbeat(&old_id, Some("i"), 1, step));
    assert_eq!(beat, Err(ErrorCode::FencedInstanceId));
    let mut sync = sync_request("i-two", 1);
    sync.group_instance_id = Some("i".into());
    let waiter = bench.sync(&sync);
    assert_eq!(bench.syncs[&waiter].assignment, assignment_of("i-one"), "the assignment is the member's, not the id's");
}

#[test]
fn an_older_client_that_comes_back_is_not_told_that_it_leads() {
    let (mut bench, old_id) = stable_with_static();
    let waiter = bench.join(&JoinRequest { may_skip_assignment: false, ..static_request("i", "two") });
    bench.write_all();
    let answer = &bench.joins[&waiter];
    assert_eq!((&answer.leader, answer.members.len(), answer.skip_assignment), (&old_id, 0, false));
}

#[test]
fn a_static_members_return_that_cannot_be_written_is_undone() {
    let (mut bench, old_id) = stable_with_static();
    let waiter = bench.join(&static_request("i", "two"));
    let (write, _) = bench.writes.remove(0);
    bench.step(|group, step| group.stored(write, Err(ErrorCode::NotCoordinator), step));
    assert_eq!(bench.joins[&waiter].error, ErrorCode::NotCoordinator);
    let beat = bench.step(|group, step| group.heartbeat(&old_id, Some("i"), 1, step));
    assert_eq!(beat, Ok(()));
    assert!(bench.group.is_leader(&old_id));
}

#[test]
fn a_static_member_with_another_protocol_makes_a_rebalance() {
    let (mut bench, _) = stable_with_static();
    let mut request = static_request("i", "two");
    request.protocols = vec![protocol("roundrobin", b"rr")];
    let waiter = bench.join(&request);
    // It is the only member, and has joined.
    assert_eq!((bench.joins[&waiter].generation, bench.joins[&waiter].protocol.as_deref()), (2, Some("roundrobin")));
}

#[test]
fn a_static_member_that_waits_is_fenced_by_its_successor() {
    let mut bench = Bench::new();
    let first = bench.join(&static_request("i", "one"));
    let second = bench.join(&static_request("i", "two"));
    assert_eq!(bench.joins[&first].error, ErrorCode::FencedInstanceId);
    bench.pass(10_000);
    assert_eq!(&*bench.joins[&second].member_id, "i-two");
    assert_eq!(bench.group.members.len(), 1);
}

#[test]
fn a_static_member_survives_a_rebalance_that_it_does_not_join_until_its_session_ends() {
    let mut bench = Bench::new();
    let fixed = bench.join(&JoinRequest { session_timeout_ms: 200_000, ..static_request("i", "one") });
    let (_, dynamic) = bench.join_dynamic("a");
    bench.pass(6_000);
    assert_eq!(bench.joins[&fixed].generation, 1);
    bench.sync_all(&["i-one".into(), dynamic.clone()]);
    let mut again = request("a");
    again.member_id = dynamic.clone();
    again.protocols.reverse();
    let waiter = bench.join(&again);
    bench.pass(60_000);
    assert_eq!(bench.joins[&waiter].generation, 2);
    assert_eq!(bench.group.members.len(), 2, "the static member is kept");
    assert!(bench.group.is_leader(&dynamic), "and does not lead, since it is not there");
}

#[test]
fn administrators_remove_static_members_by_their_instance() {
    let (mut bench, id) = stable_with_static();
    let fenced = bench.step(|group, step| group.leave(&[leaving("another", Some("i"))], step));
    assert_eq!(fenced, [ErrorCode::FencedInstanceId]);
    let gone = bench.step(|group, step| group.leave(&[leaving("", Some("i")), leaving("", Some("j"))], step));
    assert_eq!(gone, [ErrorCode::None, ErrorCode::UnknownMemberId]);
    assert!(!bench.group.members.contains_key(&*id));
    assert_eq!(bench.group.state_name(), "Empty");
}

#[test]
fn who_does_not_ask_for_its_assignment_is_removed_after_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let (_, a) = bench.join_dynamic("a");
    let (_, b) = bench.join_dynamic("b");
    bench.pass(6_000);
    let mut leads = sync_request(&a, 1);
    leads.assignments = vec![(a.clone(), assignment_of(&a))];
    bench.sync(&leads);
    bench.write_all();
    assert_eq!(bench.group.state_name(), "Stable");
    for _ in 0..13 {
        bench.pass(5_000);
        let _ = bench.step(|group, step| group.heartbeat(&a, None, 1, step));
        let _ = bench.step(|group, step| group.heartbeat(&b, None, 1, step));
    }
    assert_eq!(bench.group.members.keys().collect::<Vec<_>>(), [&a]);
    assert_eq!(bench.group.state_name(), "PreparingRebalance");
}

#[test]
fn a_group_comes_back_from_its_record_and_its_members_have_a_session_to_show_up() {
    let (mut bench, ids) = Bench::stable(&["a", "b"]);
    let assignments = bench.group.members.iter().map(|(id, member)| (id.clone(), member.assignment.clone())).collect();
    let value = bench.group.to_value(&assignments);
    bench.group = Group::from_value("g".into(), &value, bench.now).expect("a group");
    bench.step(|group, step| group.loaded(step));
    let view = bench.group.view();
    assert_eq!((view.state, &*view.protocol, view.members.len()), ("Stable", "range", 2));
    assert_eq!(view.members[0].assignment, assignment_of(&ids[0]));
    bench.pass(9_000);
    let beat = bench.step(|group, step| group.heartbeat(&ids[0], None, 1, step));
    assert_eq!(beat, Ok(()));
    bench.pass(2_000);
    assert_eq!(bench.group.members.keys().collect::<Vec<_>>(), [&ids[0]]);
    let broken = GroupMetadataValue { protocol: None, ..value };
    assert!(Group::from_value("g".into(), &broken, bench.now).is_err());
}

#[test]
fn offsets_expire_by_the_groups_state() {
    let mut bench = Bench::new();
    assert_eq!(bench.group.offset_expiry(), OffsetExpiry::SinceCommit, "a group without members ever");
    assert!(!bench.group.is_subscribed_to("t"));
    // Version 0 of a subscription: one topic, "t".
    let subscription = protocol("range", b"\0\0\0\0\0\x01\0\x01t");
    let mut join = request("a");
    (join.id_first, join.protocols) = (false, vec![subscription]);
    let waiter = bench.join(&join);
    assert_eq!(bench.group.offset_expiry(), OffsetExpiry::Never);
    bench.pass(3_000);
    let id = bench.joins[&waiter].member_id.clone();
    bench.sync_all(std::slice::from_ref(&id));
    assert_eq!(bench.group.offset_expiry(), OffsetExpiry::SinceCommit);
    assert!(bench.group.is_subscribed_to("t") && !bench.group.is_subscribed_to("u"));
    assert_eq!(bench.group.check_offset_delete(), Ok(()));
    assert_eq!(bench.group.check_delete(), Err(ErrorCode::NonEmptyGroup));
    bench.step(|group, step| group.leave(&[leaving(&id, None)], step));
    assert_eq!(bench.group.offset_expiry(), OffsetExpiry::Since(bench.now.wall_ms));
    assert!(!bench.group.is_subscribed_to("t"));
    assert_eq!(bench.group.check_delete(), Ok(()));
}

#[test]
fn a_join_that_is_sent_again_takes_the_place_of_the_first() {
    let mut bench = Bench::new();
    let (first, id) = bench.join_dynamic("a");
    let mut again = request("a");
    again.member_id = id;
    let second = bench.join(&again);
    assert_eq!(bench.joins[&first].error, ErrorCode::RebalanceInProgress);
    bench.pass(3_000);
    assert_eq!(bench.joins[&second].generation, 1);
}
