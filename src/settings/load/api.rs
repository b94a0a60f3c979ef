//! `[mqtt.NAME.api]`.

use super::{Context, secret, url::http_url};
use crate::{
    diagnostic::Fault,
    settings::{ApiLogin, BrokerApi, HttpUrl, Secret, TlsFiles},
    toml_reader::Table,
};

pub(super) fn of_broker(table: Table<'_>, context: &Context<'_>) -> BrokerApi {
    let url = url(&table);
    let api = BrokerApi { login: login(&table, context), tls: tls(&table, &url, context), url };
    table.finish();
    api
}

fn url(table: &Table<'_>) -> HttpUrl {
    let stand_in = HttpUrl { encrypted: true, host: String::new(), port: 443 };
    let Some(found) = table.text("url") else {
        if table.key_at("url").is_none() {
            table.missing("url", "say where the broker's HTTP interface listens: `url = \"http://host:18083\"`");
        }
        return stand_in;
    };
    http_url(&found.value).unwrap_or_else(|(label, hint)| {
        let message = format!("`{}` is not the URL of an HTTP interface", table.name("url"));
        table.faults().add(Fault::error(found.at, message, label).hint(hint));
        stand_in
    })
}

fn login(table: &Table<'_>, context: &Context<'_>) -> Option<ApiLogin> {
    let username = table.filled_text("username");
    let password = secret(table, "password", context).map(Secret::new);
    let token = secret(table, "token", context).map(Secret::new);
    match (table.key_at("username"), table.key_at("password")) {
        (Some(_), None) => table.missing("password", "a user name needs its password: of EMQX, the secret key"),
        (None, Some(_)) => table.missing("username", "a password needs its user name: of EMQX, the API key"),
        _ => {}
    }
    if let (Some(token), Some(username)) = (table.key_at("token"), table.key_at("username")) {
        let fault = Fault::error(token, "there are two ways to log in", "a second one");
        table.faults().add(fault.other(username, "the first").hint("EMQX takes a user name, RMQTT a token"));
    }
    let basic = || Some(ApiLogin::Basic { username: username?.value, password: password? });
    token.map(ApiLogin::Bearer).or_else(basic)
}

fn tls(table: &Table<'_>, url: &HttpUrl, context: &Context<'_>) -> TlsFiles {
    let Some(tls) = table.table("tls") else { return TlsFiles::default() };
    if let Some(at) = table.key_at("tls").filter(|_| !url.encrypted) {
        let message = format!("`{}` has no effect: the connection is not encrypted", table.name("tls"));
        table.faults().add(Fault::error(at, message, "not used").hint("use `https://`"));
    }
    context.tls(tls)
}
