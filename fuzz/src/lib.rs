//! What the fuzz targets have in common: any bytes as what comes from outside.
//!
//! Of an event, which comes in two ways, the bytes are one that chooses a filter of the adapter, a line that stands for
//! its wildcards and for the name of a hook, and the event.

use rocketbridge::{
    lmq::credentials::{Notice, Tokens},
    presence::adapter::Adapter,
};

/// Has an adapter read the bytes. Nothing may make it panic.
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
        let _ = Notice::read(topic, data).map(Notice::meaning);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(tokens) = Tokens::parse(text) else { return };
    assert_eq!(Tokens::parse(tokens.password().reveal()).as_ref(), Ok(&tokens));
    assert!(!tokens.uploads(None).is_empty() && tokens.uploads(Some(&tokens)).is_empty());
}
