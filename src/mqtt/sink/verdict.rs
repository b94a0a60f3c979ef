//! What a reason code of PUBACK or PUBREC means for a message. Pure.

use crate::{
    delivery::Refusal,
    mqtt::reason::{PACKET_TOO_LARGE, PAYLOAD_FORMAT_INVALID, Reason, TOPIC_NAME_INVALID},
};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker has it, also when nobody subscribed.
    Stored,
    /// It never will.
    Refused(Refusal),
    /// It may later: a quota, a missing permission, a fault of its own.
    Retry,
}

pub(super) fn judge(reason: &Reason) -> Verdict {
    let refused = |kind| Verdict::Refused(Refusal::new(kind, format!("the broker refuses it: {reason}")));
    match reason.code {
        TOPIC_NAME_INVALID => refused("topic_not_allowed"),
        PACKET_TOO_LARGE => refused("body_too_large"),
        PAYLOAD_FORMAT_INVALID => refused("payload_format_invalid"),
        _ if reason.is_failure() => Verdict::Retry,
        _ => Verdict::Stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_retry_can_mend_is_refused() {
        for code in [0x00, 0x10] {
            assert_eq!(judge(&Reason::of(code)), Verdict::Stored, "{code:#x}");
        }
        for code in [0x80, 0x83, 0x87, 0x91, 0x97, 0xFF] {
            assert_eq!(judge(&Reason::of(code)), Verdict::Retry, "{code:#x}");
        }
        for (code, kind) in [(0x90, "topic_not_allowed"), (0x95, "body_too_large"), (0x99, "payload_format_invalid")] {
            assert!(matches!(judge(&Reason::of(code)), Verdict::Refused(refusal) if refusal.kind == kind));
        }
    }
}
