//! Bytes that are no message: decoding ends with an error, without a panic and without much memory.

use bytes::Bytes;
use proptest::prelude::*;

use super::sample::{Entropy, Sample};
use super::{for_each_api, runner};
use crate::protocol::wire::Version;
use crate::protocol::{DecodeFault, Message, Reader, RequestHeader, Writer, messages};

/// Bytes that look a little like messages: mostly small numbers, which are lengths that fit and flags.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0..5u8, 1 => any::<u8>(), 1 => Just(0xffu8)];
    proptest::collection::vec(byte, 0..300)
}

fn decode_any<M: Message>(bytes: &Bytes) {
    for version in M::KEY.versions() {
        let mut r = Reader::new(bytes.clone());
        if M::decode(&mut r, version).is_ok() {
            assert!(r.position() <= bytes.len());
        }
    }
}

#[test]
fn arbitrary_bytes_never_panic_a_decoder() {
    runner(96)
        .run(&bytes(), |bytes| {
            let bytes = Bytes::from(bytes);
            let _ = RequestHeader::decode(&mut Reader::new(bytes.clone()));
            macro_rules! each {
                ($key:ident, $module:ident, $request:ident, $response:ident) => {
                    decode_any::<messages::$module::$request>(&bytes);
                    decode_any::<messages::$module::$response>(&bytes);
                };
            }
            for_each_api!(each);
            Ok(())
        })
        .unwrap();
}

/// Every beginning of a message is an error, and so is a byte behind its end.
fn truncate<M: Message + Sample + std::fmt::Debug>(entropy: &[u8]) {
    for version in M::KEY.versions() {
        let flexible = M::KEY.is_flexible(version);
        let message = M::sample(&mut Entropy(entropy), Version { number: version, flexible });
        let mut w = Writer::new();
        message.encode(&mut w, version);
        let whole = w.finish().into_bytes();
        for len in (0..whole.len()).step_by(1 + whole.len() / 64).chain(whole.len().checked_sub(1)) {
            let mut r = Reader::new(whole.slice(..len));
            let error = M::decode(&mut r, version).expect_err("cut");
            let cut = matches!(error.fault, DecodeFault::Truncated { .. } | DecodeFault::CountTooLarge { .. });
            assert!(cut, "{} {version} cut at {len} of {}: {error}", M::KEY, whole.len());
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        let mut r = Reader::new(Bytes::from(longer));
        M::decode(&mut r, version).expect("the message is whole");
        assert_eq!(r.finish().expect_err("a byte too many").fault, DecodeFault::Leftover(1));
    }
}

#[test]
fn a_message_that_is_cut_is_an_error() {
    runner(16)
        .run(&proptest::collection::vec(any::<u8>(), 0..300), |entropy| {
            macro_rules! each {
                ($key:ident, $module:ident, $request:ident, $response:ident) => {
                    truncate::<messages::$module::$request>(&entropy);
                    truncate::<messages::$module::$response>(&entropy);
                };
            }
            for_each_api!(each);
            Ok(())
        })
        .unwrap();
}

/// An array that announces two billion elements is refused before anything is reserved for them.
#[test]
fn an_announced_count_reserves_nothing() {
    // Metadata version 1: the topics.
    let bytes = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 1, b'a']);
    let error = messages::metadata::MetadataRequest::decode(&mut Reader::new(bytes), 1).unwrap_err();
    assert_eq!(error.fault, DecodeFault::CountTooLarge { count: i32::MAX as u32, remaining: 3 });
    assert_eq!(error.field, "MetadataRequest.topics");
    assert_eq!(error.position, 4);

    // The same in version 12, compact.
    let bytes = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    let error = messages::metadata::MetadataRequest::decode(&mut Reader::new(bytes), 12).unwrap_err();
    assert_eq!(error.fault, DecodeFault::CountTooLarge { count: u32::MAX - 1, remaining: 2 });

    // So many that they would fit by their bytes: what is reserved at first is bounded all the same.
    let mut bytes = vec![0; 4 << 20];
    bytes[..4].copy_from_slice(&[0, 0x10, 0, 0]);
    bytes[4..6].copy_from_slice(&[0xff, 0xf0]);
    let error = messages::metadata::MetadataRequest::decode(&mut Reader::new(bytes.into()), 1).unwrap_err();
    assert_eq!(error.fault, DecodeFault::NegativeLength(-16));
    assert_eq!(error.field, "MetadataRequestTopic.name");
}

#[test]
fn a_version_that_is_not_served_is_an_error() {
    let empty = || Reader::new(Bytes::new());
    for version in [-1, 2, 14, i16::MAX] {
        let error = messages::produce::ProduceRequest::decode(&mut empty(), version).unwrap_err();
        assert_eq!(error.fault, DecodeFault::UnsupportedVersion(version));
    }
}
