//! Seeded schedules: clients that come, go, fall silent, lose answers and come back, a disk that is slow or refuses, a
//! coordinator that restarts; held against what must be true of any of it.
//!
//! - No partition has two owners in one generation.
//! - What is handed out is durable: after a restart the group is at least at that generation.
//! - Nobody waits for ever: once the world is calm, the live clients share all partitions in one generation.
//! - Who falls silent is removed.

use std::collections::BTreeSet;

use super::*;

const PARTITIONS: u8 = 7;
const CLIENTS: usize = 5;
/// The world is calm after the longest of all timeouts, some times over.
const CALM_MS: u64 = 3 * NEW_MEMBER_JOIN_TIMEOUT_MS;

/// splitmix64: the same world for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Does not run, or has crashed.
    Down,
    /// Is about to join.
    Out,
    Joining(Waiter),
    Syncing(Waiter, i32),
    /// Owns these partitions in this generation.
    Working(i32, BTreeSet<u8>),
}

/// A consumer that follows the protocol.
struct Client {
    name: String,
    instance: Option<KafkaString>,
    member_id: KafkaString,
    phase: Phase,
    /// Changes when it subscribes to something else.
    subscription: u8,
    heartbeat_ms: u64,
    generation: i32,
    versions: (bool, bool),
}

struct World {
    bench: Bench,
    random: Random,
    clients: Vec<Client>,
    /// Who owned a partition in a generation.
    owners: BTreeMap<(i32, u8), String>,
    /// The group's last durable record.
    durable: Option<GroupMetadataValue>,
    suffixes: u64,
    restarts: u32,
    calm: bool,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let clients = (0..CLIENTS)
            .map(|number| Client {
                name: format!("client-{number}"),
                instance: (number % 2 == 1).then(|| format!("instance-{number}").into()),
                member_id: "".into(),
                phase: Phase::Down,
                subscription: 0,
                heartbeat_ms: 0,
                generation: -1,
                versions: (random.one_in(2), random.one_in(2)),
            })
            .collect();
        let bench = Bench::new();
        World { bench, random, clients, owners: BTreeMap::new(), durable: None, suffixes: 0, restarts: 0, calm: false }
    }

    fn disturb(&mut self) {
        let which = self.random.below(CLIENTS as u64) as usize;
        match self.random.below(14) {
            0..=3 => self.start(which),
            4 => self.clients[which].phase = Phase::Down,
            5 => self.leave(which),
            6 => self.clients[which].subscription ^= 1,
            7 if self.clients[which].phase != Phase::Down => self.clients[which].phase = Phase::Out,
            8 if self.random.one_in(4) => self.restart(),
            9 if self.random.one_in(3) => self.write(false),
            _ => self.write(true),
        }
    }

    fn start(&mut self, which: usize) {
        let client = &mut self.clients[which];
        if client.phase == Phase::Down {
            // A process that starts knows no member id.
            client.member_id = "".into();
            client.phase = Phase::Out;
        }
    }

    fn leave(&mut self, which: usize) {
        let client = &mut self.clients[which];
        client.phase = Phase::Down;
        let leaving = LeavingMember {
            member_id: client.member_id.clone(),
            group_instance_id: client.instance.clone(),
            reason: None,
        };
        self.bench.step(|group, step| group.leave(&[leaving], step));
    }

    /// The disk is done with its oldest write.
    fn write(&mut self, durable: bool) {
        if self.bench.writes.is_empty() {
            return;
        }
        let (write, value) = self.bench.writes.remove(0);
        if durable {
            self.durable = Some(value);
        }
        let outcome = if durable { Ok(()) } else { Err(ErrorCode::NotCoordinator) };
        self.bench.step(|group, step| group.stored(write, outcome, step));
    }

    /// The coordinator crashes and comes back with what is durable; nobody who waits is answered.
    fn restart(&mut self) {
        self.restarts += 1;
        self.bench.writes.clear();
        let now = self.bench.now;
        self.bench.group = match &self.durable {
            Some(value) => Group::from_value("g".into(), value, now).expect("its own record"),
            None => Group::new("g".into(), now),
        };
        self.bench.step(|group, step| group.loaded(step));
        for client in &mut self.clients {
            if matches!(client.phase, Phase::Joining(_) | Phase::Syncing(..)) {
                client.phase = Phase::Out;
            }
        }
    }

    /// Each client does what it would do now.
    fn drive(&mut self) {
        for which in 0..CLIENTS {
            // An answer that is lost makes a client begin anew, with the id that it has.
            let lost = !self.calm && self.random.one_in(20);
            match self.clients[which].phase.clone() {
                Phase::Down => {}
                Phase::Out => self.join(which),
                Phase::Joining(waiter) => {
                    if let Some(answer) = self.bench.joins.remove(&waiter) {
                        if lost { self.clients[which].phase = Phase::Out } else { self.joined(which, answer) }
                    }
                }
                Phase::Syncing(waiter, generation) => {
                    if let Some(answer) = self.bench.syncs.remove(&waiter) {
                        if lost {
                            self.clients[which].phase = Phase::Out
                        } else {
                            self.synced(which, generation, answer)
                        }
                    } else {
                        self.beat(which, generation);
                    }
                }
                Phase::Working(generation, _) => self.beat(which, generation),
            }
        }
    }

    fn join(&mut self, which: usize) {
        self.suffixes += 1;
        let client = &self.clients[which];
        let metadata = Bytes::copy_from_slice(&[client.subscription]);
        let protocols = vec![Protocol { name: "range".into(), metadata }];
        let request = JoinRequest {
            member_id: client.member_id.clone(),
            identity: Identity { group_instance_id: client.instance.clone(), ..Identity::default() },
            protocols,
            id_first: client.versions.0,
            may_skip_assignment: client.versions.1,
            suffix: format!("{}-{}", client.name, self.suffixes),
            ..request(&client.name)
        };
        let waiter = self.bench.join(&request);
        self.clients[which].phase = Phase::Joining(waiter);
    }

    fn joined(&mut self, which: usize, answer: JoinAnswer) {
        let client = &mut self.clients[which];
        match answer.error {
            ErrorCode::None => {
                client.member_id = answer.member_id.clone();
                client.generation = answer.generation;
                let mut request = sync_request(&answer.member_id, answer.generation);
                request.group_instance_id = client.instance.clone();
                if answer.leader == answer.member_id && !answer.skip_assignment {
                    request.assignments = share(&answer.members);
                }
                let waiter = self.bench.sync(&request);
                self.clients[which].phase = Phase::Syncing(waiter, answer.generation);
            }
            ErrorCode::MemberIdRequired => {
                client.member_id = answer.member_id;
                client.phase = Phase::Out;
            }
            ErrorCode::UnknownMemberId => self.begin_anew(which),
            ErrorCode::RebalanceInProgress | ErrorCode::NotCoordinator => client.phase = Phase::Out,
            ErrorCode::FencedInstanceId => self.fenced(which),
            other => panic!("a join is answered with {other}"),
        }
    }

    fn synced(&mut self, which: usize, generation: i32, answer: SyncAnswer) {
        match answer.error {
            ErrorCode::None => {
                let durable = self.durable.as_ref().map(|value| value.generation);
                assert!(durable >= Some(generation), "an assignment is handed out before it is durable");
                let client = &mut self.clients[which];
                // A static member keeps its partitions when its id changes.
                let owner = client.instance.as_ref().map_or(client.member_id.to_string(), ToString::to_string);
                for &partition in answer.assignment.iter() {
                    let known = self.owners.entry((generation, partition)).or_insert_with(|| owner.clone());
                    assert_eq!(*known, owner, "partition {partition} in generation {generation}");
                }
                client.phase = Phase::Working(generation, answer.assignment.iter().copied().collect());
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => self.begin_anew(which),
            ErrorCode::RebalanceInProgress | ErrorCode::NotCoordinator => self.clients[which].phase = Phase::Out,
            ErrorCode::FencedInstanceId => self.fenced(which),
            other => panic!("a sync is answered with {other}"),
        }
    }

    fn beat(&mut self, which: usize, generation: i32) {
        let now_ms = self.bench.now.monotonic_ms;
        let client = &mut self.clients[which];
        if now_ms < client.heartbeat_ms {
            return;
        }
        client.heartbeat_ms = now_ms + 3_000;
        let (id, instance) = (client.member_id.clone(), client.instance.clone());
        match self.bench.step(|group, step| group.heartbeat(&id, instance.as_deref(), generation, step)) {
            Ok(()) => {}
            Err(ErrorCode::RebalanceInProgress) => self.clients[which].phase = Phase::Out,
            Err(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => self.begin_anew(which),
            Err(ErrorCode::FencedInstanceId) => self.fenced(which),
            Err(other) => panic!("a heartbeat is answered with {other}"),
        }
    }

    /// Each static id is one client's, so nobody else fences it. But an id that was given out in a generation that never
    /// became durable is forgotten by a restart, here as in Kafka: the client fails, and its process is started again.
    fn fenced(&mut self, which: usize) {
        assert!(self.restarts > 0, "{} is fenced by itself", self.clients[which].name);
        self.begin_anew(which);
    }

    fn begin_anew(&mut self, which: usize) {
        self.clients[which].member_id = "".into();
        self.clients[which].phase = Phase::Out;
    }

    fn run(&mut self) {
        for _ in 0..200 {
            let ms = [0, 1, 50, 400, 3_000, 20_000][self.random.below(6) as usize];
            self.bench.pass(ms);
            self.disturb();
            self.drive();
        }
        self.calm = true;
        let until = self.bench.now.monotonic_ms + CALM_MS;
        while self.bench.now.monotonic_ms < until {
            self.write(true);
            self.drive();
            self.bench.pass(2_500);
        }
        self.check_calm();
    }

    fn check_calm(&self) {
        let group = &self.bench.group;
        let live: Vec<&Client> = self.clients.iter().filter(|client| client.phase != Phase::Down).collect();
        let ids: BTreeSet<&KafkaString> = live.iter().map(|client| &client.member_id).collect();
        assert_eq!(group.members.keys().collect::<BTreeSet<_>>(), ids, "members are those that live");
        assert!(group.pending.is_empty(), "unused ids are forgotten");
        assert!(group.writes.is_empty());
        if live.is_empty() {
            assert_eq!(group.state_name(), "Empty");
            assert_eq!(group.wake_ms, None);
            return;
        }
        assert_eq!(group.state_name(), "Stable");
        let mut owned: Vec<u8> = Vec::new();
        for client in live {
            let Phase::Working(generation, partitions) = &client.phase else {
                panic!("{} is in {:?}", client.name, client.phase)
            };
            assert_eq!(*generation, group.generation);
            owned.extend(partitions);
        }
        owned.sort_unstable();
        assert_eq!(owned, (0..PARTITIONS).collect::<Vec<_>>(), "each partition has one owner");
        let durable = self.durable.as_ref().expect("a generation is durable");
        assert_eq!(durable.generation, group.generation);
    }
}

/// The leader deals the partitions out.
fn share(members: &[JoinedMember]) -> Vec<(KafkaString, Bytes)> {
    let mut shares: Vec<Vec<u8>> = vec![Vec::new(); members.len()];
    for partition in 0..PARTITIONS {
        let turn = usize::from(partition) % members.len();
        shares[turn].push(partition);
    }
    members.iter().map(|member| member.member_id.clone()).zip(shares.into_iter().map(Bytes::from)).collect()
}

#[test]
fn any_history_ends_well() {
    for seed in 0..1_500 {
        let outcome = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

/// The check would notice: a coordinator that hands out an assignment before it is durable is found out.
#[test]
fn a_world_without_a_disk_is_noticed() {
    let mut world = World::new(1);
    world.start(0);
    for _ in 0..20 {
        world.drive();
        world.bench.pass(500);
        let premature = world.bench.writes.first().map(|(write, _)| *write);
        if let Some(write) = premature {
            world.bench.step(|group, step| group.stored(write, Ok(()), step));
            let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.drive()));
            assert!(noticed.is_err());
            return;
        }
    }
    panic!("no assignment was made");
}
