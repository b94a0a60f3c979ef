//! What the fuzz targets do. Nothing may make the bridge panic.

mod logins;

pub use logins::{ask, log_in, query};
use rocketbridge::{
    lmq::{
        credentials::Tokens,
        parameters,
        token::{TokenKey, system_topics::Told},
        token_request::{self, Call},
    },
    presence::adapter::Adapter,
    settings::Secret,
    tokens::{record, upload},
};

/// Has a token and a record read. Whoever does not know the secret makes neither.
pub fn token(data: &[u8]) {
    let key = TokenKey::new(&Secret::new("a secret that nobody guesses"));
    assert!(key.open(&String::from_utf8_lossy(data)).is_none());
    assert!(record::unpack(data, &key).is_err());
    // What is read once the seal is right.
    let _ = record::Entry::from_json(data);
}

/// Has a form or a query string read, and a request of it.
pub fn token_request(data: &[u8]) {
    let Some((call, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let Some(parameters) = parameters::split(text) else { return };
    let call = Call::ALL[usize::from(*call) % Call::ALL.len()];
    if let Ok(asked) = token_request::read(call, &parameters, 1_566_000_000_000) {
        assert!(asked.verify(Some("a secret that nobody guesses")).is_err());
    }
}

/// Has a post about an uploaded token read.
pub fn token_upload(data: &[u8]) {
    for adapter in Adapter::ALL {
        let _ = upload::read(adapter, data);
    }
}

/// Has an adapter read an event, by both ways in which events come. The bytes are one that chooses a filter of the
/// adapter, a line that stands for its wildcards and for the name of a hook, and the event.
pub fn read(adapter: Adapter, data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let mut parts = rest.splitn(2, |byte| *byte == b'\n');
    let line = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let event = parts.next().unwrap_or_default();
    let topic = match adapter.filters() {
        [] => line.clone().into_owned(),
        filters => filters[usize::from(*choice) % filters.len()].replace('+', "1").replace('#', &line),
    };
    let _ = adapter.from_publish(&topic, event, 7);
    let _ = adapter.from_webhook(Some(&line), event, 7);
}

/// Reads the bytes as tokens, and as both notices. Tokens that can be read are the same when they are read again, and
/// uploading them once is enough.
pub fn credentials(data: &[u8]) {
    for topic in ["$SYS/tokenExpireNotice", "$SYS/tokenInvalidNotice"] {
        let _ = Told::read(topic, data).map(Told::meaning);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(tokens) = Tokens::parse(text) else { return };
    assert_eq!(Tokens::parse(tokens.password().reveal()).as_ref(), Ok(&tokens));
    assert!(!tokens.uploads(None).is_empty() && tokens.uploads(Some(&tokens)).is_empty());
}
