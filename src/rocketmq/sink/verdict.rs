//! What a broker's answer to a send means for its messages. Pure.

use crate::{
    rocketmq::{
        client::{CallError, Response},
        wire::code::response,
    },
    settings::StoredWhen,
};

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker holds all its messages.
    Stored,
    /// The broker will never take these messages together; perhaps not one of them.
    Refused(String),
    /// To be sent again, and why.
    Retry(String),
    /// To be sent again once the topic's route is known anew.
    Reroute(String),
}

/// Judges an answer.
pub(super) fn judge(answer: Result<Response, CallError>, stored_when: StoredWhen) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Verdict::Reroute(error.to_string()),
    };
    match (answer.code, stored_when) {
        (response::SUCCESS, _)
        | (
            response::FLUSH_DISK_TIMEOUT | response::FLUSH_SLAVE_TIMEOUT | response::SLAVE_NOT_AVAILABLE,
            StoredWhen::Accepted,
        ) => return Verdict::Stored,
        (response::FLUSH_DISK_TIMEOUT, _) => return Verdict::Retry("the broker's disk is slow".to_owned()),
        (response::FLUSH_SLAVE_TIMEOUT | response::SLAVE_NOT_AVAILABLE, _) => {
            return Verdict::Retry("the broker's slave does not follow".to_owned());
        }
        (response::INVALID_PARAMETER, _) => {
            return Verdict::Reroute(format!("the broker has no such queue: {}", answer.remark.unwrap_or_default()));
        }
        _ => {}
    }
    match answer.into_error() {
        CallError::Refused { remark, .. } => Verdict::Refused(remark),
        // How an exception about a message's size comes out of brokers.
        CallError::Broker { code: response::SYSTEM_ERROR, remark } if remark.contains("size exceeded") => {
            Verdict::Refused(remark)
        }
        error @ (CallError::TopicNotExist(_) | CallError::Busy { code: response::SERVICE_NOT_AVAILABLE, .. }) => {
            Verdict::Reroute(error.to_string())
        }
        // Its words hold times and sizes, and would be a new reason each time.
        CallError::Busy { code, .. } => Verdict::Retry(format!("the broker is busy (code {code})")),
        error => Verdict::Retry(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::rocketmq::wire::frame::Fields;

    fn judged(code: i32, remark: &str, stored_when: StoredWhen) -> Verdict {
        let remark = Some(remark.to_owned());
        judge(Ok(Response { code, remark, fields: Fields::default(), body: Bytes::new() }), stored_when)
    }

    #[test]
    fn unconfirmed_durability_counts_only_when_it_is_asked_for() {
        for code in [10, 11, 12] {
            assert_eq!(judged(code, "", StoredWhen::Accepted), Verdict::Stored, "{code}");
            assert!(matches!(judged(code, "", StoredWhen::Durable), Verdict::Retry(_)), "{code}");
        }
        assert_eq!(judged(0, "", StoredWhen::Durable), Verdict::Stored);
    }

    #[test]
    fn only_what_no_retry_can_change_is_refused() {
        let refused = |code, remark| matches!(judged(code, remark, StoredWhen::Durable), Verdict::Refused(_));
        assert!(refused(13, "the message is illegal"));
        assert!(refused(1, "java.lang.RuntimeException: message body size exceeded, ..."));
        for (code, remark) in
            [(1, "in-sync replicas not enough"), (2, "busy"), (14, ""), (16, "denied"), (17, ""), (29, ""), (999, "?")]
        {
            assert!(!refused(code, remark), "{code}");
        }
    }
}
