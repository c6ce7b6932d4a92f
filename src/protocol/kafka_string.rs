//! Strings that share the memory of the frame they came in.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// A UTF-8 string backed by [`Bytes`]: cloning counts a reference, and decoding copies nothing.
///
/// A decoded string keeps the whole frame it came in alive. Call [`KafkaString::detached`] before storing one for
/// longer than its request.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KafkaString(
    /// Valid UTF-8 in every value that exists: each constructor checks or knows it.
    Bytes,
);

impl KafkaString {
    /// The string of these bytes, sharing them; `None` unless they are UTF-8.
    #[inline]
    pub fn from_utf8(bytes: Bytes) -> Option<KafkaString> {
        std::str::from_utf8(&bytes).is_ok().then_some(KafkaString(bytes))
    }

    /// A constant string; no allocation.
    pub const fn from_static(text: &'static str) -> KafkaString {
        KafkaString(Bytes::from_static(text.as_bytes()))
    }

    /// The string as `str`.
    #[inline]
    pub fn as_str(&self) -> &str {
        // SAFETY: the field's invariant: every constructor takes a `str` or checks its bytes, and `Bytes` is immutable.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// A copy with memory of its own, which keeps no frame alive.
    pub fn detached(&self) -> KafkaString {
        KafkaString(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for KafkaString {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for KafkaString {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for KafkaString {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// As `str` hashes, which [`Borrow`] requires.
impl Hash for KafkaString {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<&str> for KafkaString {
    fn from(text: &str) -> KafkaString {
        KafkaString(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for KafkaString {
    fn from(text: String) -> KafkaString {
        KafkaString(Bytes::from(text))
    }
}

impl From<KafkaString> for Bytes {
    fn from(text: KafkaString) -> Bytes {
        text.0
    }
}

impl PartialEq<str> for KafkaString {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for KafkaString {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for KafkaString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for KafkaString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    #[test]
    fn behaves_as_its_str() {
        let text = KafkaString::from("zażółć");
        assert_eq!(text, "zażółć");
        assert_eq!(format!("{text} {text:?}"), "zażółć \"zażółć\"");
        assert_eq!(text.len(), 10);
        let [first, second] = ["a", "b"].map(String::from).map(KafkaString::from);
        assert!(first < second);
        assert_eq!(HashMap::from([(text.clone(), 1)]).get("zażółć"), Some(&1));
        assert_eq!(BTreeMap::from([(text.clone(), 1)]).get("zażółć"), Some(&1));
        assert_eq!(KafkaString::default(), KafkaString::from_static(""));
        assert_ne!(text.detached().as_ptr(), text.as_ptr());
    }

    #[test]
    fn refuses_what_is_not_utf8() {
        assert_eq!(KafkaString::from_utf8(Bytes::from_static(b"\xc3\x28")), None);
        assert_eq!(KafkaString::from_utf8(Bytes::from_static(b"ok")), Some("ok".into()));
    }
}
