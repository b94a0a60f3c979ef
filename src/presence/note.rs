//! What bridges tell each other through the topics of notices, beside the notices: under a tag of their own, which no
//! back end reads that reads by the tags of LMQ-7.1. Pure.

use serde::{Deserialize, Serialize};

/// What a view must know beside the notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "note")]
pub enum Note {
    /// Events of this status route from before `until` may be missing.
    Gap {
        /// The status route.
        source: String,
        /// In milliseconds since the epoch, by the broker's clock.
        until: u64,
    },
    /// Who was connected to this route's broker at `since` is known, and all that has happened since: the ends that this
    /// brought to light are told as notices.
    Whole {
        /// The status route.
        source: String,
        /// In milliseconds since the epoch, by the broker's clock.
        since: u64,
    },
}

impl Note {
    /// The tag of such a message.
    pub const TAG: &str = "rocketbridge";
    /// The property of a notice that names its status route.
    pub const SOURCE: &str = "rocketbridgeSource";

    /// The body.
    pub fn to_body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are JSON")
    }

    /// Reads a body.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}
