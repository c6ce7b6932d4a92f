//! The APIs that corelog serves, and in which versions.

use std::fmt;
use std::ops::RangeInclusive;

macro_rules! api_keys {
    ($( $(#[$meta:meta])* $name:ident = $key:literal, $versions:expr, flexible $flexible:literal; )+) => {
        /// An API of the Kafka protocol that corelog serves.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $( $(#[$meta])* $name = $key, )+
        }

        impl ApiKey {
            /// All of them, by key.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name),+];

            /// Kafka's name of the API.
            pub const fn name(self) -> &'static str {
                match self {
                    $( ApiKey::$name => stringify!($name), )+
                }
            }

            /// The versions that are served: both messages can be encoded and decoded in each of them.
            pub const fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $( ApiKey::$name => $versions, )+
                }
            }

            /// The first version with compact lengths and tagged fields (KIP-482).
            pub const fn first_flexible_version(self) -> i16 {
                match self {
                    $( ApiKey::$name => $flexible, )+
                }
            }

            /// The API with this key; `None` when it is not served.
            pub const fn from_code(key: i16) -> Option<ApiKey> {
                match key {
                    $( $key => Some(ApiKey::$name), )+
                    _ => None,
                }
            }
        }
    };
}

api_keys! {
    /// Appends record batches.
    Produce = 0, 3..=13, flexible 9;
    /// Reads record batches.
    Fetch = 1, 4..=18, flexible 12;
    /// Finds offsets by timestamp, or the ends of a log.
    ListOffsets = 2, 1..=11, flexible 6;
    /// Lists topics, partitions, leaders and brokers.
    Metadata = 3, 0..=13, flexible 9;
    /// Stores the offsets that a group has consumed.
    OffsetCommit = 8, 2..=10, flexible 8;
    /// Reads the offsets that groups have stored.
    OffsetFetch = 9, 1..=10, flexible 6;
    /// Finds the broker that coordinates a group or a transactional id.
    FindCoordinator = 10, 0..=6, flexible 3;
    /// Makes a member of a classic group, and waits for its generation.
    JoinGroup = 11, 0..=9, flexible 6;
    /// Keeps a member of a classic group alive.
    Heartbeat = 12, 0..=4, flexible 4;
    /// Removes members from a classic group.
    LeaveGroup = 13, 0..=5, flexible 4;
    /// Hands out the assignment of a classic group's generation.
    SyncGroup = 14, 0..=5, flexible 4;
    /// Describes classic groups and their members.
    DescribeGroups = 15, 0..=6, flexible 5;
    /// Lists groups.
    ListGroups = 16, 0..=5, flexible 3;
    /// Lists the APIs that the broker serves. Its response header never has tagged fields, so that any client can read it.
    ApiVersions = 18, 0..=4, flexible 3;
    /// Creates topics.
    CreateTopics = 19, 2..=7, flexible 5;
    /// Deletes topics.
    DeleteTopics = 20, 1..=6, flexible 4;
    /// Removes the records below an offset.
    DeleteRecords = 21, 0..=2, flexible 2;
    /// Gives out producer ids (KIP-98). Version 6 (KIP-939, two-phase commit) is not served.
    InitProducerId = 22, 0..=5, flexible 2;
    /// Finds where a leader epoch ends (KIP-101).
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4;
    /// Describes the configuration of topics and brokers.
    DescribeConfigs = 32, 1..=4, flexible 4;
    /// Replaces the configuration of topics and brokers.
    AlterConfigs = 33, 0..=2, flexible 2;
    /// Adds partitions to topics.
    CreatePartitions = 37, 0..=3, flexible 2;
    /// Deletes groups.
    DeleteGroups = 42, 0..=2, flexible 2;
    /// Changes single configuration values (KIP-339).
    IncrementalAlterConfigs = 44, 0..=1, flexible 1;
    /// Deletes single offsets of a group (KIP-496).
    OffsetDelete = 47, 0..=0, flexible 1;
    /// Describes the cluster and its brokers (KIP-700).
    DescribeCluster = 60, 0..=2, flexible 0;
}

impl ApiKey {
    /// The key on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether `version` is served.
    pub fn supports(self, version: i16) -> bool {
        self.versions().contains(&version)
    }

    /// The versions that the ApiVersions response lists: those served, except that Produce is listed from version 0 on.
    ///
    /// librdkafka before 2.11 takes a broker without Produce version 0 for one that knows no message format it could
    /// use (KIP-896); Kafka lists it for the same reason, and refuses it as we do.
    pub fn advertised_versions(self) -> RangeInclusive<i16> {
        match self {
            ApiKey::Produce => 0..=*self.versions().end(),
            _ => self.versions(),
        }
    }

    /// Whether `version` has compact lengths and tagged fields (KIP-482).
    #[inline]
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.first_flexible_version()
    }

    /// The version of the request header in front of a request of `version`: 2 for flexible versions, otherwise 1.
    #[inline]
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response header in front of a response of `version`: 1 for flexible versions, otherwise 0;
    /// always 0 for ApiVersions (KIP-511).
    #[inline]
    pub const fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self, ApiKey::ApiVersions) { 1 } else { 0 }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_in_order() {
        assert!(ApiKey::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
        for &key in ApiKey::ALL {
            assert_eq!(ApiKey::from_code(key.code()), Some(key));
            assert!(!key.versions().is_empty());
        }
        assert_eq!(ApiKey::from_code(-1), None);
        assert_eq!(ApiKey::from_code(17), None);
    }

    #[test]
    fn produce_is_listed_from_version_0_but_not_served() {
        assert_eq!(ApiKey::Produce.advertised_versions(), 0..=13);
        assert!(!ApiKey::Produce.supports(2));
        assert!(ApiKey::Produce.supports(3));
        assert_eq!(ApiKey::Fetch.advertised_versions(), ApiKey::Fetch.versions());
    }

    #[test]
    fn header_versions_follow_flexibility() {
        assert_eq!(ApiKey::Fetch.request_header_version(11), 1);
        assert_eq!(ApiKey::Fetch.request_header_version(12), 2);
        assert_eq!(ApiKey::Fetch.response_header_version(11), 0);
        assert_eq!(ApiKey::Fetch.response_header_version(12), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
    }
}
