//! What a consumer's metadata says of the topics that it subscribes to.

use std::collections::BTreeSet;

use super::Group;
use crate::protocol::wire::{Version, Wire};
use crate::protocol::{KafkaString, Reader};

impl Group {
    /// The topics that all members together subscribe to; `None` when they are no consumers, or do not say.
    pub(super) fn subscriptions(&self) -> Option<BTreeSet<KafkaString>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(&mut Reader::new(member.metadata(Some(protocol))))?);
        }
        Some(topics)
    }
}

/// Reads the part of a ConsumerProtocolSubscription that all its versions begin with: version and topics.
fn subscribed_topics(r: &mut Reader) -> Option<Vec<KafkaString>> {
    if r.read_i16().ok()? < 0 {
        return None;
    }
    let topics = Vec::<KafkaString>::read(r, Version { number: 0, flexible: false }).ok()?;
    Some(topics.iter().map(KafkaString::detached).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn read(bytes: &'static [u8]) -> Option<Vec<KafkaString>> {
        subscribed_topics(&mut Reader::new(Bytes::from_static(bytes)))
    }

    #[test]
    fn topics_are_read_of_any_version() {
        let version_3 = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0\0\0\0\x05\xff\xff";
        assert_eq!(read(version_3), Some(vec!["a".into(), "bc".into()]));
        assert_eq!(read(b"\0\0\0\0\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn what_is_no_subscription_says_nothing() {
        for bytes in [&b""[..], b"\0", b"\xff\xff\0\0\0\0", b"\0\0\x7f\xff\xff\xff\0\x01a", b"\0\0\0\0\0\x01\0\x05a"] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }
}
