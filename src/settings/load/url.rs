//! Addresses of MQTT brokers, their HTTP interfaces, and RocketMQ name servers.

use crate::settings::{HttpUrl, MqttTransport, MqttUrl};

/// Reads `mqtt://host:1883`; on failure says what is wrong and what to do.
pub(super) fn mqtt_url(text: &str) -> Result<MqttUrl, (&'static str, String)> {
    let schemes = "a URL starts with `mqtt://`, `mqtts://`, `ws://` or `wss://`";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(("no scheme", format!("{schemes}: `mqtt://{text}`")));
    };
    let (transport, default_port) = match scheme {
        "mqtt" => (MqttTransport::Tcp, 1883),
        "mqtts" => (MqttTransport::Tls, 8883),
        "ws" => (MqttTransport::Ws, 80),
        "wss" => (MqttTransport::Wss, 443),
        "tcp" => return Err(("unknown scheme", "write `mqtt://` for plain TCP".to_owned())),
        "ssl" | "tls" => return Err(("unknown scheme", "write `mqtts://` for TLS".to_owned())),
        _ => return Err(("unknown scheme", schemes.to_owned())),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.contains('@') {
        return Err(("holds a user", "give `username` and `password` as keys of their own".to_owned()));
    }
    if !path.trim_matches('/').is_empty() && matches!(transport, MqttTransport::Tcp | MqttTransport::Tls) {
        return Err(("has a path", "only `ws://` and `wss://` have a path".to_owned()));
    }
    let (host, port) = host_and_port(authority, default_port)
        .ok_or_else(|| ("bad host or port", format!("write `{scheme}://host:{default_port}`")))?;
    let path = if path.is_empty() { "/mqtt" } else { path };
    Ok(MqttUrl { transport, host, port, path: path.to_owned() })
}

/// Reads `http://host:18083`; on failure says what is wrong and what to do.
pub(super) fn http_url(text: &str) -> Result<HttpUrl, (&'static str, String)> {
    let (encrypted, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(_) => return Err(("unknown scheme", "a URL starts with `http://` or `https://`".to_owned())),
        None => return Err(("no scheme", format!("a URL starts with `http://` or `https://`: `http://{text}`"))),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.contains('@') {
        return Err(("holds a user", "give `username` and `password` as keys of their own".to_owned()));
    }
    if !path.trim_matches('/').is_empty() {
        return Err(("has a path", "give host and port alone: the path is known".to_owned()));
    }
    let (host, port) = host_and_port(authority, if encrypted { 443 } else { 80 })
        .ok_or_else(|| ("bad host or port", "write `http://host:18083`".to_owned()))?;
    Ok(HttpUrl { encrypted, host, port })
}

/// Reads `host`, `host:port` or `[address]:port`.
pub(super) fn host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (
                address,
                port.strip_prefix(':').map_or(if port.is_empty() { Some(None) } else { None }, |p| Some(Some(p)))?,
            )
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let host_is_fine = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/?#@\"".contains(c));
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => default_port,
    };
    host_is_fine.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_take_the_default_port_and_path_of_their_scheme() {
        for (text, shown) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker:1", "mqtts://broker:1"),
            ("ws://broker", "ws://broker:80/mqtt"),
            ("wss://broker/a/b", "wss://broker:443/a/b"),
        ] {
            assert_eq!(mqtt_url(text).map(|url| url.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_http_interface_is_a_host_and_a_port() {
        for (text, shown) in [
            ("http://broker:18083", "http://broker:18083"),
            ("http://broker/", "http://broker:80"),
            ("https://[::1]", "https://[::1]:443"),
        ] {
            assert_eq!(http_url(text).map(|url| url.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for text in ["broker:18083", "mqtt://b", "http://", "http://b:0", "http://b/api/v5", "http://k:s@b"] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_host_loses_its_brackets_and_keeps_its_port() {
        assert_eq!(host_and_port("[::1]:9876", 1), Some(("::1".to_owned(), 9876)));
        assert_eq!(host_and_port("[::1]", 1), Some(("::1".to_owned(), 1)));
        assert_eq!(host_and_port("[::1]x", 1), None);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in
            ["broker:1883", "tcp://b", "http://b", "mqtt://", "mqtt://b:0", "mqtt://b:x", "mqtt://b/c", "mqtt://u:p@b"]
        {
            assert!(mqtt_url(text).is_err(), "{text}");
        }
    }
}
