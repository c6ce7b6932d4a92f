//! The partitions that a load is put on: those of one or several topics, numbered through.

use std::net::SocketAddr;
use std::ops::Range;

use corelog::protocol::KafkaString;

use super::cluster::Topic;

/// The partitions.
#[derive(Clone, Debug)]
pub struct Target {
    places: Vec<Place>,
    topics: Vec<Range<usize>>,
}

/// A partition.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its topic.
    pub topic: KafkaString,
    /// Its index in the topic.
    pub index: i32,
    /// The address of its leader.
    pub leader: SocketAddr,
}

impl Target {
    /// All partitions of these topics, topic by topic.
    pub fn of(topics: &[Topic]) -> Target {
        let mut target = Target { places: Vec::new(), topics: Vec::new() };
        for topic in topics {
            let first = target.places.len();
            let name: KafkaString = topic.name.as_str().into();
            let place =
                |(index, &leader): (usize, &SocketAddr)| Place { topic: name.clone(), index: index as i32, leader };
            target.places.extend(topic.leaders.iter().enumerate().map(place));
            target.topics.push(first..target.places.len());
        }
        target
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The partition with this number, from 0.
    pub fn place(&self, number: usize) -> &Place {
        &self.places[number]
    }

    /// Where it stands, for messages.
    pub fn describe(&self, number: usize) -> String {
        let place = self.place(number);
        format!("partition {} of topic '{}'", place.index, place.topic.as_str())
    }

    /// The numbers of each topic's partitions.
    pub fn topics(&self) -> &[Range<usize>] {
        &self.topics
    }

    /// The partitions by the connection that they get: each leader's are shared out among `connections` of them, but
    /// none of these is without any. Leaders in the order of their first partition.
    pub fn by_connection(
        &self,
        numbers: impl IntoIterator<Item = usize>,
        connections: usize,
    ) -> Vec<(SocketAddr, Vec<usize>)> {
        let mut leaders: Vec<(SocketAddr, Vec<usize>)> = Vec::new();
        for number in numbers {
            let leader = self.places[number].leader;
            match leaders.iter_mut().find(|(known, _)| *known == leader) {
                Some((_, numbers)) => numbers.push(number),
                None => leaders.push((leader, vec![number])),
            }
        }
        let shared = |(leader, numbers): (SocketAddr, Vec<usize>)| {
            let count = connections.min(numbers.len());
            let share = move |first| (leader, numbers.iter().skip(first).step_by(count).copied().collect::<Vec<_>>());
            (0..count).map(share).collect::<Vec<_>>()
        };
        leaders.into_iter().flat_map(shared).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_numbered_through_and_shared_out_by_leader_and_connection() {
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let topics = [
            Topic { name: "t".to_owned(), leaders: vec![a, b, a] },
            Topic { name: "u".to_owned(), leaders: vec![b, a] },
        ];
        let target = Target::of(&topics);
        assert_eq!((target.len(), target.topics()), (5, &[0..3, 3..5][..]));
        assert_eq!(target.describe(4), "partition 1 of topic 'u'");
        assert_eq!(target.by_connection(0..5, 1), [(a, vec![0, 2, 4]), (b, vec![1, 3])]);
        assert_eq!(target.by_connection(0..5, 2), [(a, vec![0, 4]), (a, vec![2]), (b, vec![1]), (b, vec![3])]);
        assert_eq!(target.by_connection([3], 9), [(b, vec![3])]);
    }
}
