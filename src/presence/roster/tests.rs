use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::presence::event::Identity;

/// A moment at a full second.
const T: u64 = 1_700_000_000_000;

fn utc(millis: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}

/// As RMQTT writes it, two hours east.
fn local(millis: u64) -> String {
    utc(millis + 7_200_000)[..19].replace('T', " ")
}

/// A broker with clients that connected at these times, which gives so many of them at once.
struct Broker {
    clients: Vec<u64>,
    rows: usize,
    asked: Vec<String>,
}

impl Broker {
    fn new(clients: Vec<u64>, rows: usize) -> Self {
        Self { clients, rows, asked: Vec::new() }
    }

    /// The clients between the two bounds of a request, as many as are given.
    fn within(&self, request: &str, unit: u64) -> (Vec<(usize, u64)>, bool) {
        let bound = |name: &str| -> u64 {
            let value = request.split(['?', '&']).find_map(|part| part.strip_prefix(name)).expect("a bound");
            value.parse::<u64>().unwrap() * unit
        };
        let prefix = if unit == 1 { "" } else { "_" };
        let span = bound(&format!("{prefix}gte_connected_at="))..=bound(&format!("{prefix}lte_connected_at="));
        let found: Vec<_> = self.clients.iter().copied().enumerate().filter(|(_, at)| span.contains(at)).collect();
        let more = found.len() > self.rows;
        (found.into_iter().take(self.rows).collect(), more)
    }

    fn emqx(&self, request: &str) -> Value {
        let (found, hasnext) = self.within(request, 1);
        let row = |(index, at)| {
            json!({"clientid": format!("c{index}"), "node": "n", "connected": true, "connected_at": utc(at),
                "ip_address": "::1", "port": index})
        };
        json!({"data": found.into_iter().map(row).collect::<Vec<_>>(), "meta": {"hasnext": hasnext}})
    }

    fn rmqtt(&self, request: &str) -> Value {
        match request {
            "/api/v1/brokers" => json!([{"node_id": 7, "datetime": local(T), "running": true}]),
            "/api/v1/plugins/7/rmqtt-http-api/config" => json!({"max_row_limit": self.rows, "http_laddr": "x"}),
            clients => {
                let row = |(index, at)| {
                    json!({"clientid": format!("c{index}"), "node_id": 7, "connected": true, "connected_at": local(at),
                        "ip_address": "::1", "port": index})
                };
                self.within(clients, 1_000).0.into_iter().map(row).collect()
            }
        }
    }

    fn list(&mut self, adapter: Adapter) -> Result<Vec<Connected>, Unreadable> {
        let mut roster = Roster::new(adapter).expect("it lists its clients");
        while let Some(request) = roster.request() {
            assert!(self.asked.len() < 20_000, "it comes to an end");
            let answer = if adapter == Adapter::Emqx { self.emqx(&request) } else { self.rmqtt(&request) };
            self.asked.push(request);
            roster.answer(answer.to_string().as_bytes(), T + 700)?;
        }
        Ok(roster.clients())
    }
}

fn ids(clients: &[Connected]) -> Vec<&str> {
    let mut ids: Vec<&str> = clients.iter().map(|client| client.client_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn only_brokers_whose_lists_are_understood_are_asked() {
    let asked = Adapter::ALL.map(|adapter| Roster::new(adapter).is_some());
    assert_eq!(asked, [false, true, true, false, false, false]);
}

#[test]
fn rmqtt_is_asked_for_its_nodes_and_its_limit_before_its_clients_and_for_its_nodes_after() {
    let mut broker = Broker::new(vec![T + 5], 10);
    let clients = broker.list(Adapter::Rmqtt).unwrap();
    let peer = "[::1]:0".to_owned();
    assert_eq!(clients, [Connected { client_id: "c0".into(), at: T, peer, identity: Identity::Peer }]);
    assert_eq!(
        broker.asked,
        [
            "/api/v1/brokers",
            "/api/v1/plugins/7/rmqtt-http-api/config",
            "/api/v1/clients?connected=true&_limit=10&_gte_connected_at=0&_lte_connected_at=253402300799",
            "/api/v1/brokers"
        ]
    );
}

#[test]
fn emqx_is_asked_once_where_all_fits() {
    let mut broker = Broker::new(vec![T + 5], 10);
    let clients = broker.list(Adapter::Emqx).unwrap();
    assert_eq!((clients[0].at, clients[0].peer.as_str()), (T + 5, "[::1]:0"));
    let request = "/api/v5/clients?conn_state=connected&page=1&limit=5000&gte_connected_at=0\
        &lte_connected_at=253402300799000";
    assert_eq!(broker.asked, [request]);
}

#[test]
fn clients_that_cannot_be_told_apart_by_time_make_no_list() {
    for adapter in [Adapter::Emqx, Adapter::Rmqtt] {
        let error = Broker::new(vec![T + 500; 11], 10).list(adapter).unwrap_err();
        assert!(error.to_string().contains("more than 10 clients"), "{error}");
    }
    // RMQTT never says that there are more.
    assert!(Broker::new(vec![T + 500; 10], 10).list(Adapter::Rmqtt).is_err());
    assert_eq!(Broker::new(vec![T + 500; 10], 10).list(Adapter::Emqx).unwrap().len(), 10);
}

#[test]
fn a_list_without_a_node_of_the_cluster_is_none() {
    for at in [0, 3] {
        let (mut roster, broker) = (Roster::new(Adapter::Rmqtt).unwrap(), Broker::new(vec![T], 10));
        let mut results = Vec::new();
        while let Some(request) = roster.request().filter(|_| results.len() <= at) {
            let mut answer = broker.rmqtt(&request);
            if results.len() == at {
                answer.as_array_mut().unwrap().push(json!("Connection refused"));
            }
            results.push(roster.answer(answer.to_string().as_bytes(), T));
        }
        let error = results.pop().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "a node of the cluster does not answer: Connection refused");
    }
}

#[test]
fn what_is_no_answer_makes_no_list() {
    for adapter in [Adapter::Emqx, Adapter::Rmqtt] {
        for body in ["", "null", "{}", "[]", "[{}]", "[{\"node_id\":1}]", "<html>"] {
            assert!(Roster::new(adapter).unwrap().answer(body.as_bytes(), T).is_err(), "{body}");
        }
    }
    let mut roster = Roster::new(Adapter::Rmqtt).unwrap();
    roster.answer(Broker::new(Vec::new(), 0).rmqtt("/api/v1/brokers").to_string().as_bytes(), T).unwrap();
    assert!(roster.answer(b"{\"max_row_limit\":0}", T).is_err());
}

#[test]
fn a_client_of_rmqtt_without_an_address_is_its_latest_connection_and_without_a_time_came_now() {
    let mut roster = Roster::new(Adapter::Rmqtt).unwrap();
    let broker = Broker::new(Vec::new(), 10);
    for request in ["/api/v1/brokers", "/api/v1/plugins/7/rmqtt-http-api/config"] {
        roster.answer(broker.rmqtt(request).to_string().as_bytes(), T).unwrap();
    }
    let rows = r#"[{"clientid":"a","connected":true,"connected_at":"","ip_address":null,"port":null},
        {"clientid":"b","connected":false,"connected_at":"","ip_address":null,"port":null}]"#;
    roster.answer(rows.as_bytes(), T + 9).unwrap();
    let client = Connected { client_id: "a".into(), at: T + 9, peer: String::new(), identity: Identity::Latest };
    assert_eq!(roster.clients(), [client]);
}

proptest! {
    /// Clients are never lost between two requests, however they are spread over time.
    #[test]
    fn all_clients_are_listed_in_however_many_requests(
        times in proptest::collection::vec(prop_oneof![0..T, T..T + 20_000], 0..300), rows in 60usize..120,
    ) {
        for adapter in [Adapter::Emqx, Adapter::Rmqtt] {
            let mut broker = Broker::new(times.clone(), rows);
            let clients = broker.list(adapter).unwrap();
            prop_assert_eq!(ids(&clients).len(), times.len());
            prop_assert!(broker.asked.len() < 60, "{} requests", broker.asked.len());
        }
    }
}
