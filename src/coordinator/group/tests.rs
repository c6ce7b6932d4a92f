//! The state machine against its rules: case by case, and over seeded schedules.

mod cases;
mod schedules;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::coordinator::GroupSettings;
use crate::coordinator::offsets::records::GroupMetadataValue;
use crate::protocol::ErrorCode;

/// A group with what the server would be to it: a clock, a disk, and those who wait.
struct Bench {
    group: Group,
    now: Now,
    settings: GroupSettings,
    last_write: u64,
    last_waiter: u64,
    joins: BTreeMap<Waiter, JoinAnswer>,
    syncs: BTreeMap<Waiter, SyncAnswer>,
    /// Records on their way to the disk.
    writes: Vec<(WriteId, GroupMetadataValue)>,
}

impl Bench {
    fn new() -> Bench {
        let now = Now { monotonic_ms: 1_000_000, wall_ms: 1_700_000_000_000 };
        Bench {
            group: Group::new("g".into(), now),
            now,
            settings: GroupSettings::default(),
            last_write: 0,
            last_waiter: 0,
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            writes: Vec::new(),
        }
    }

    fn step<T>(&mut self, change: impl FnOnce(&mut Group, &mut Step) -> T) -> T {
        let mut step =
            Step { now: self.now, settings: &self.settings, last_write: &mut self.last_write, effects: Vec::new() };
        let result = change(&mut self.group, &mut step);
        for effect in step.effects {
            match effect {
                Effect::JoinAnswer(waiter, answer) => {
                    assert_eq!(self.joins.insert(waiter, answer), None, "{waiter:?} is answered once");
                }
                Effect::SyncAnswer(waiter, answer) => {
                    assert_eq!(self.syncs.insert(waiter, answer), None, "{waiter:?} is answered once");
                }
                Effect::Store(write, value) => self.writes.push((write, value)),
            }
        }
        let bytes: usize = self.group.members.values().map(Member::held_bytes).sum();
        assert_eq!(self.group.member_bytes, bytes, "the count of bytes is kept");
        if let Some(deadline) = self.earliest_deadline() {
            assert!(self.group.wake_ms.is_some_and(|wake| wake <= deadline), "the group is woken in time");
        }
        result
    }

    fn earliest_deadline(&self) -> Option<u64> {
        let members = self.group.members.values().filter_map(|member| member.deadline_ms);
        members.chain(self.group.pending.values().copied()).min()
    }

    fn waiter(&mut self) -> Waiter {
        self.last_waiter += 1;
        Waiter(self.last_waiter)
    }

    fn join(&mut self, request: &JoinRequest) -> Waiter {
        let waiter = self.waiter();
        self.step(|group, step| group.join(request, waiter, step));
        waiter
    }

    fn sync(&mut self, request: &SyncRequest) -> Waiter {
        let waiter = self.waiter();
        self.step(|group, step| group.sync(request, waiter, step));
        waiter
    }

    /// Time passes; the group is woken as often as it wants.
    fn pass(&mut self, ms: u64) {
        let until = self.now.monotonic_ms + ms;
        let wall_offset = self.now.wall_ms - self.now.monotonic_ms as i64;
        loop {
            let next = self.group.wake_ms.filter(|&wake| wake <= until);
            let at = next.unwrap_or(until).max(self.now.monotonic_ms);
            self.now = Now { monotonic_ms: at, wall_ms: at as i64 + wall_offset };
            if next.is_none() {
                return;
            }
            self.step(|group, step| group.tick(step));
            let again = self.group.wake_ms;
            assert!(again.is_none_or(|again| again > at), "a tick leaves nothing that is due: {:?}", self.group);
        }
    }

    /// The disk has written all records.
    fn write_all(&mut self) {
        while !self.writes.is_empty() {
            let (write, _) = self.writes.remove(0);
            self.step(|group, step| group.stored(write, Ok(()), step));
        }
    }

    /// A dynamic member joins with its id; what it waits with, and its id.
    fn join_dynamic(&mut self, name: &str) -> (Waiter, KafkaString) {
        let mut request = request(name);
        let waiter = self.join(&request);
        let told = self.joins.remove(&waiter).expect("a new member is told its id");
        assert_eq!(told.error, ErrorCode::MemberIdRequired);
        request.member_id = told.member_id.clone();
        (self.join(&request), told.member_id)
    }

    /// A stable group of these dynamic members; their ids. The first is the leader.
    fn stable(names: &[&str]) -> (Bench, Vec<KafkaString>) {
        let mut bench = Bench::new();
        let joined: Vec<_> = names.iter().map(|name| bench.join_dynamic(name)).collect();
        bench.pass(10_000);
        for (waiter, _) in &joined {
            assert_eq!(bench.joins.remove(waiter).expect("joined").error, ErrorCode::None);
        }
        let ids: Vec<KafkaString> = joined.into_iter().map(|(_, id)| id).collect();
        bench.sync_all(&ids);
        assert_eq!(bench.group.state_name(), "Stable");
        (bench, ids)
    }

    /// All members sync, the leader with an assignment for each that names it.
    fn sync_all(&mut self, ids: &[KafkaString]) {
        let mut waiters = Vec::new();
        for id in ids {
            let mut request = sync_request(id, self.group.generation);
            if self.group.is_leader(id) {
                request.assignments = ids.iter().map(|id| (id.clone(), assignment_of(id))).collect();
            }
            waiters.push(self.sync(&request));
        }
        self.write_all();
        for (waiter, id) in waiters.into_iter().zip(ids) {
            let answer = self.syncs.remove(&waiter).expect("synced");
            assert_eq!((answer.error, answer.assignment), (ErrorCode::None, assignment_of(id)));
        }
    }
}

fn assignment_of(id: &str) -> Bytes {
    format!("the assignment of {id}").into()
}

/// What a new consumer sends.
fn request(name: &str) -> JoinRequest {
    JoinRequest {
        member_id: "".into(),
        identity: Identity { group_instance_id: None, client_id: name.into(), client_host: "/127.0.0.1".into() },
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", b"r"), protocol("roundrobin", b"rr")],
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        id_first: true,
        may_skip_assignment: true,
        suffix: "id".into(),
        reason: None,
    }
}

fn static_request(instance: &str, suffix: &str) -> JoinRequest {
    let mut request = request("static");
    request.identity.group_instance_id = Some(instance.into());
    request.suffix = suffix.into();
    request
}

fn protocol(name: &str, metadata: &'static [u8]) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::from_static(metadata) }
}

fn sync_request(id: &str, generation: i32) -> SyncRequest {
    SyncRequest {
        member_id: id.into(),
        group_instance_id: None,
        generation,
        protocol_type: Some("consumer".into()),
        protocol: None,
        assignments: Vec::new(),
    }
}
