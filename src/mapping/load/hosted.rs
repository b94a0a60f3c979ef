//! What an endpoint of LMQ would have against the sessions of routes. Warnings: a broker of one's own that devices log in
//! to in the same way may be less strict.

use super::Draft;
use crate::{
    diagnostic::{At, Fault, Faults},
    lmq::topics::client_id_fault,
    mapping::To,
    settings::MqttBroker,
};

/// LMQ-2.3: subscriptions of a client.
const MAX_SUBSCRIPTIONS: usize = 30;

/// Client ids (LMQ-2.1) and numbers of filters (LMQ-2.3). A stem without a group is found with the settings.
pub(super) fn names(drafts: &[Draft], faults: &Faults) {
    for draft in drafts {
        if let Some(source) = &draft.source
            && let Some(session) = source.from.as_ref().and_then(|from| from.session())
        {
            client_id(&session.broker, &session.client_id, &source.identity_at, faults);
            let filters = session.filters.len();
            if session.broker.login.is_some() && filters > MAX_SUBSCRIPTIONS {
                let message = format!("LMQ-2.3: {filters} filters in one session are over {MAX_SUBSCRIPTIONS}");
                let fault = Fault::warning(source.identity_at.clone(), message, "too many for an endpoint of LMQ");
                faults.add(fault.hint("divide them over routes: each has a session of its own"));
            }
        }
        if let Some(sink) = &draft.sink
            && let Some(To::Mqtt { broker, client_id: id }) = &sink.to
        {
            client_id(broker, id, &sink.at, faults);
        }
    }
}

fn client_id(broker: &MqttBroker, id: &str, at: &At, faults: &Faults) {
    if broker.login.is_none() || !broker.client_id.contains("@@@") {
        return;
    }
    if let Some(fault) = client_id_fault(id) {
        let fault = Fault::warning(at.clone(), fault, format!("its session would be `{id}`"));
        faults.add(fault.hint(format!("shorten the route's name, or `client_id` of `[mqtt.{}]`", broker.name)));
    }
}
