//! `[http]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Context, secrets::secret};
use crate::{
    diagnostic::Fault,
    settings::{Hooks, Http, Secret, ServerFiles},
    toml_reader::{Found, Table},
};

const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);

pub(super) fn listeners(root: &Table<'_>, context: &Context<'_>) -> Http {
    let Some(table) = root.table("http") else {
        return Http { admin: Some(ADMIN), lmq: None, hooks: None, tls: None };
    };
    let listeners = Http {
        admin: match table.text("admin") {
            None => Some(ADMIN),
            Some(found) if found.value == "off" => None,
            Some(found) => {
                let hint = format!("the default is `{ADMIN}`; `0.0.0.0:8480` listens to all");
                address(&table, "admin", &found, "an address and a port, or `off`", &hint)
            }
        },
        lmq: table.text("lmq").and_then(|found| {
            address(&table, "lmq", &found, "an address and a port", "write `0.0.0.0:8481` to listen to all")
        }),
        hooks: hooks(&table, context),
        tls: table.table("tls").and_then(|tls| server_files(tls, context)),
    };
    if let Some(at) = table.key_at("tls").filter(|_| table.key_at("lmq").is_none() && table.key_at("hooks").is_none()) {
        let fault = Fault::error(at, "`http.tls` has no effect: `http.admin` is never encrypted", "not used");
        table.faults().add(fault.hint("it is for `http.lmq` and `http.hooks`, which are not given"));
    }
    table.finish();
    listeners
}

/// Whoever can post an event can say that a client is gone: others than this machine must know the secret.
fn hooks(table: &Table<'_>, context: &Context<'_>) -> Option<Hooks> {
    let given = secret(table, "hooks_secret", context).map(Secret::new);
    let found = table.text("hooks");
    if let Some(at) = table.key_at("hooks_secret").filter(|_| found.is_none()) {
        let fault = Fault::error(at, format!("`{}` has no effect", table.name("hooks_secret")), "not used");
        table.faults().add(fault.hint("it is for `http.hooks`, which is not given"));
    }
    let found = found?;
    let hint = "write `127.0.0.1:8482` for brokers on this machine";
    let address = address(table, "hooks", &found, "an address and a port", hint)?;
    if !address.ip().is_loopback() && table.key_at("hooks_secret").is_none() {
        let fault = Fault::error(found.at, "others than this machine could post events", "needs `hooks_secret`");
        table.faults().add(fault.hint(
            "add `hooks_secret = { env = \"HOOKS_SECRET\" }` and have brokers send it as `authorization: Bearer ...`",
        ));
    }
    Some(Hooks { address, secret: given })
}

fn address(table: &Table<'_>, key: &str, found: &Found<String>, wanted: &str, hint: &str) -> Option<SocketAddr> {
    let address = found.value.parse().ok();
    if address.is_none() {
        let message = format!("`{}` must be {wanted}", table.name(key));
        table.faults().add(Fault::error(found.at.clone(), message, "not an address").hint(hint));
    }
    address
}

fn server_files(table: Table<'_>, context: &Context<'_>) -> Option<ServerFiles> {
    let (certificate, key) = (context.file(&table, "certificate"), context.file(&table, "key"));
    if table.key_at("certificate").is_none() {
        table.missing("certificate", "a server needs a certificate chain in PEM");
    }
    if table.key_at("key").is_none() {
        table.missing("key", "a certificate needs its private key");
    }
    table.finish();
    Some(ServerFiles { certificate: certificate?, key: key? })
}
