//! An RMQTT broker of one node: `rmqtt-for-tests FOLDER ADDRESS` listens for MQTT over TCP at the address.
//!
//! Each plugin runs whose file, such as `rmqtt-web-hook.toml`, is in the folder. Anonymous clients come in unless a
//! plugin refuses them. It prints one line once it listens, and runs until it is killed.

use std::{env, io::Write as _, path::Path, process::exit};

use rmqtt::{Result, context::ServerContext, net::Builder, server::MqttServer};

#[tokio::main]
async fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(folder), Some(address), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("usage: rmqtt-for-tests FOLDER ADDRESS");
        exit(2);
    };
    if let Err(e) = run(&folder, &address).await {
        eprintln!("{e:?}");
    }
    // To return would wait for the session storage's thread, which never ends.
    exit(1);
}

/// Starts the plugins that the folder has a file for.
macro_rules! start_plugins {
    ($context:expr, $folder:expr, $($plugin:ident)+) => {
        $(
            let file = format!("{}.toml", stringify!($plugin).replace('_', "-"));
            if $folder.join(file).exists() {
                $plugin::register($context, true, true).await?;
            }
        )+
    };
}

async fn run(folder: &str, address: &str) -> Result<()> {
    // A busy machine is no reason to turn clients away.
    let context = ServerContext::new().plugins_config_dir(folder).busy_check_enable(false).build().await;
    start_plugins!(
        &context,
        Path::new(folder),
        rmqtt_acl
        rmqtt_auth_http
        rmqtt_auto_subscription
        rmqtt_http_api
        rmqtt_p2p_messaging
        rmqtt_retainer
        rmqtt_session_storage
        rmqtt_shared_subscription
        rmqtt_sys_topic
        rmqtt_web_hook
    );
    let listener = Builder::new()
        .name("external/tcp")
        .laddr(address.parse()?)
        .allow_anonymous(true)
        .nodelay(true)
        // It is killed and started again at the same port.
        .reuseaddr(Some(true));
    let server = MqttServer::new(context).listener(listener.bind()?.tcp()?).build();
    println!("listens on {address}");
    std::io::stdout().flush()?;
    server.run().await
}
