//! What the fuzz targets have in common: any bytes as an event, by both ways in which events come.
//!
//! The bytes are one that chooses a filter of the adapter, a line that stands for its wildcards and for the name of a
//! hook, and the event.

use rocketbridge::presence::adapter::Adapter;

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
