//! Where a queue is read from when it is taken up.
//!
//! `from.start` holds for the queues that exist when the group first starts: its choice is committed for all of
//! them before anything is pulled. Queues and topics that come later are read from their first message. A question
//! that gets no answer is asked again, and never taken for "no offset".

use super::{Shared, commit};
use crate::{
    mapping::Start,
    message::Queue,
    rocketmq::{
        client::{CallError, Response},
        wire::{code::response, frame::Request},
    },
};

/// What is known of the group's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// Not asked yet.
    Unknown,
    /// The topic was not there when this process first looked: all of it is new.
    TopicWasMissing,
    /// The group has offsets in this topic.
    Started,
}

/// Adds to `begun` the offsets at which these queues, whose locks are held, are to be read. All are committed.
pub(super) async fn offsets(
    shared: &Shared,
    past: &mut Past,
    queues: &[Queue],
    of_topic: &[Queue],
    begun: &mut Vec<(Queue, u64)>,
) -> Result<(), CallError> {
    let mut fresh = Vec::new();
    for queue in queues {
        match committed(shared, queue).await? {
            Some(offset) => {
                *past = Past::Started;
                begun.push((queue.clone(), offset));
            }
            None => fresh.push(queue.clone()),
        }
    }
    if fresh.is_empty() {
        return Ok(());
    }
    if *past == Past::Unknown && !is_new(shared, of_topic).await? {
        *past = Past::Started;
    }
    if *past == Past::Unknown {
        // The other queues too, so that whoever reads them does not take them for queues that were added later.
        for queue in of_topic {
            let offset = first(shared, queue, shared.from.start).await?;
            begin(shared, queue, offset).await?;
            if fresh.contains(queue) {
                begun.push((queue.clone(), offset));
            }
        }
    } else {
        for queue in fresh {
            let offset = first(shared, &queue, Start::First).await?;
            begin(shared, &queue, offset).await?;
            begun.push((queue, offset));
        }
    }
    *past = Past::Started;
    Ok(())
}

async fn begin(shared: &Shared, queue: &Queue, offset: u64) -> Result<(), CallError> {
    if commit::store(shared, queue, offset).await {
        return Ok(());
    }
    Err(CallError::Unreadable(format!("broker {} did not confirm the first offset", queue.broker)))
}

/// Whether the group has no offset in any queue of the topic.
async fn is_new(shared: &Shared, of_topic: &[Queue]) -> Result<bool, CallError> {
    for queue in of_topic {
        if committed(shared, queue).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Up to where the group has read a queue; nothing when it never did.
pub(super) async fn committed(shared: &Shared, queue: &Queue) -> Result<Option<u64>, CallError> {
    let answer = shared.ask(&queue.broker, shared.member.query_offset(queue)).await?;
    if answer.code == response::QUERY_NOT_FOUND {
        return Ok(None);
    }
    offset(&answer.success()?).map(Some)
}

async fn first(shared: &Shared, queue: &Queue, start: Start) -> Result<u64, CallError> {
    let request: Request = match start {
        Start::First => shared.member.min_offset(queue),
        Start::Last => shared.member.max_offset(queue),
        Start::Time(time) => shared.member.search_offset(queue, time),
    };
    offset(&shared.ask(&queue.broker, request).await?.success()?)
}

/// An offset of an answer; an empty queue may give -1.
fn offset(answer: &Response) -> Result<u64, CallError> {
    let offset: Option<i64> = answer.fields.number("offset");
    let offset = offset.ok_or_else(|| CallError::Unreadable("an answer without an offset".to_owned()))?;
    Ok(u64::try_from(offset).unwrap_or(0))
}
