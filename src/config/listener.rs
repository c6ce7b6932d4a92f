//! The addresses in `listeners` and `advertised.listeners`: `PLAINTEXT://HOST:PORT`, as Kafka writes them.

use std::fmt;

/// The only security protocol so far. It is also the listener's name.
const PREFIX: &str = "PLAINTEXT://";

/// Where to listen, or what clients are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// A host name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port; 0 takes any free one.
    pub port: u16,
}

impl Listener {
    /// Reads `PLAINTEXT://HOST:PORT`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Listener> {
        let (prefix, address) = text.split_at_checked(PREFIX.len())?;
        if prefix.eq_ignore_ascii_case(PREFIX) { Listener::from_address(address) } else { None }
    }

    /// Reads `HOST:PORT`, with brackets around an IPv6 address; `None` for anything else.
    pub fn from_address(address: &str) -> Option<Listener> {
        let (host, port) = address.rsplit_once(':')?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let colons = host.contains(':');
        // Listeners are kept in lists with commas between them.
        if host.is_empty() || host.contains([',', '[', ']', '/']) || colons != bracketed.is_some() {
            return None;
        }
        Some(Listener { host: host.into(), port: port.parse().ok()? })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listener { host, port } = self;
        if host.contains(':') { write!(f, "{PREFIX}[{host}]:{port}") } else { write!(f, "{PREFIX}{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_and_written() {
        for (text, host, port) in [
            ("PLAINTEXT://127.0.0.1:9092", "127.0.0.1", 9092),
            ("PLAINTEXT://[::1]:0", "::1", 0),
            ("PLAINTEXT://broker.example:65535", "broker.example", 65535),
        ] {
            let listener = Listener::parse(text).unwrap();
            assert_eq!((listener.host.as_str(), listener.port), (host, port));
            assert_eq!(listener.to_string(), text);
        }
        assert!(Listener::parse("plaintext://a:1").is_some());
    }

    #[test]
    fn what_is_no_listener_is_refused() {
        for text in [
            "",
            "a:1",
            "SSL://a:1",
            "PLAINTEXT://",
            "PLAINTEXT://a",
            "PLAINTEXT://:1",
            "PLAINTEXT://a:65536",
            "PLAINTEXT://a:-1",
            "PLAINTEXT://::1:9092",
            "PLAINTEXT://[::1]",
            "PLAINTEXT://[a]:1",
            "PLAINTEXT://a,b:1",
            "PLAINTEXTä//a:1",
        ] {
            assert_eq!(Listener::parse(text), None, "{text:?}");
        }
    }
}
