//! `rocketbridge sign`, held to the vectors of the contract.

use std::{fs, process::Command};

use crate::servers::bridge;

const SETTINGS: &str = r#"
[mqtt.hosted]
url = "mqtt://127.0.0.1:1"
client_id = "GID_Test@@@bridge"
login = { mode = "device", access_key = "DK", instance = "mqtt-xxxxx", secret_key = { env = "SK" } }

[mqtt.by_token]
url = "mqtt://127.0.0.1:1"
client_id = "GID_Test@@@bridge"
login = { mode = "token", access_key = "AK", instance = "mqtt-xxxxx", token = { command = ["sh", "-c", "printf 'RW|of-%s' $ROCKETBRIDGE_CLIENT_ID"] } }

[lmq]
credentials = "credentials.toml"
"#;

const CREDENTIALS: &str = "[[access_key]]\nid = \"YYYYY\"\nsecret = { env = \"SK\" }\ngroups = \"GID_Test\"\n";

/// The lines of its standard output, its standard error output, and its exit code.
fn sign(arguments: &[&str]) -> (Vec<String>, String, i32) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rocketbridge.toml"), SETTINGS).unwrap();
    fs::write(folder.path().join("credentials.toml"), CREDENTIALS).unwrap();
    fs::write(folder.path().join("secret"), "XXXXX\n").unwrap();
    fs::write(folder.path().join("tokens"), "R|123|W|abcd\n").unwrap();
    let mut command = Command::new(bridge::binary());
    command.arg("sign").args(arguments).current_dir(folder.path()).env("SK", "XXXXX").env("UTIL", "SHA1Util");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let lines = text(&output.stdout).lines().map(str::to_owned).collect();
    (lines, text(&output.stderr), output.status.code().unwrap())
}

#[track_caller]
fn prints(arguments: &str, expected: &[&str]) {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let (lines, errors, code) = sign(&words);
    assert_eq!((lines, errors.as_str(), code), (expected.iter().map(ToString::to_string).collect(), "", 0));
}

const SIGNED: &str = "password   vI009IZJZVGRwBwZvnbwjfuXxVM=";

#[test]
fn logins_of_every_mode_are_those_of_the_contract() {
    let id = "client id  GID_Test@@@0001";
    let keyed = "--access-key YYYYY --instance mqtt-xxxxx";
    for (mode, username) in
        [("signature", "Signature|YYYYY|mqtt-xxxxx"), ("device", "DeviceCredential|YYYYY|mqtt-xxxxx")]
    {
        for secret in ["--secret-env SK", "--secret-file secret", ""] {
            let command = format!("login GID_Test@@@0001 --mode {mode} {keyed} {secret}");
            prints(&command, &[id, &format!("user name  {username}"), SIGNED]);
        }
    }
    prints(
        &format!("login GID_Test@@@0001 --mode token {keyed} --token-file tokens"),
        &[id, "user name  Token|YYYYY|mqtt-xxxxx", "password   R|123|W|abcd"],
    );
    for (mode, password) in [("custom", "password   XXXXX"), ("custom-signed", SIGNED)] {
        let command = format!("login GID_Test@@@0001 --mode {mode} --username shop --secret-env SK");
        prints(&command, &[id, "user name  shop", password]);
    }
    prints("login GID_Test@@@0001 --broker hosted", &[id, "user name  DeviceCredential|DK|mqtt-xxxxx", SIGNED]);
    prints(
        "login GID_Test@@@0001 --broker by_token",
        &[id, "user name  Token|AK|mqtt-xxxxx", "password   RW|of-GID_Test@@@0001"],
    );
}

#[test]
fn requests_are_signed_as_the_contract_has_it() {
    prints(
        "status GID_Test@@@0001 --access-key YYYYY --instance mqtt-xxxxx --timestamp 1566000000000",
        &[
            "string to sign  accessKey=YYYYY&instanceId=mqtt-xxxxx&resource=GID_Test@@@0001&timestamp=1566000000000",
            "signature       ghnUW05VdKAxx1AjgcB5iZjCqeU=",
            "request         GET /route/clientId/get?accessKey=YYYYY&instanceId=mqtt-xxxxx&timestamp=1566000000000\
             &resource=GID_Test%40%40%400001&signature=ghnUW05VdKAxx1AjgcB5iZjCqeU%3D",
        ],
    );
    prints(
        "token apply --access-key YYYYY --instance mqtt-xxxxx --resource TopicB/+ --resource TopicA/# \
         --expire-time 1566003600000",
        &[
            "string to sign  actions=R,W&expireTime=1566003600000&instanceId=mqtt-xxxxx&resources=TopicA/#,TopicB/+\
             &serviceName=mq",
            "signature       5UgqvVOBp7uRXs+1KTeOwZ4rJW0=",
            "request         POST /token/apply",
            "form            actions=R%2CW&resources=TopicA%2F%23%2CTopicB%2F%2B&expireTime=1566003600000\
             &serviceName=mq&instanceId=mqtt-xxxxx&proxyType=MQTT&accessKey=YYYYY\
             &signature=5UgqvVOBp7uRXs%2B1KTeOwZ4rJW0%3D",
        ],
    );
    prints("text testHmacSHA1 --secret-env UTIL", &["signature  LicXOdrzX+EWJKbJriUcGxm63Wg="]);
    prints(
        "text parama=a&paramb=b1,b2,b3&paramc=c1,c2 --access-key YYYYY",
        &["signature  5MkABB5zHWDmJVhXM6K+WfwD2/E="],
    );
    for what in ["revoke", "query"] {
        let (lines, _, code) = sign(&["token", what, "--access-key", "YYYYY", "--token-file", "tokens"]);
        assert_eq!((code, lines[0].as_str()), (0, "string to sign  token=R|123|W|abcd"));
        assert_eq!(lines[2], format!("request         POST /token/{what}"));
    }
}

#[test]
fn what_cannot_be_signed_is_said_with_what_to_do() {
    for (arguments, code, says) in [
        (&["text", "x", "--secret-env", "NONE"][..], 1, "`NONE` is not set"),
        (&["text", "x", "--secret-file", "none"], 1, "cannot read `none`"),
        (&["text", "x", "--access-key", "AK"], 1, "no `[[access_key]]` with the id `AK`"),
        (&["login", "a", "--broker", "none"], 1, "no `[mqtt.none]`"),
        (
            &["login", "a", "--mode", "token", "--access-key", "A", "--instance", "x", "--token-env", "SK"],
            1,
            "its type",
        ),
        (&["text", "x"], 2, "--secret-env"),
        (&["login", "a"], 2, "--mode"),
        (&["login", "a", "--mode", "custom", "--secret-env", "SK"], 2, "--username"),
        (&["token", "revoke", "--access-key", "YYYYY"], 2, "--token-env"),
        (&["status", "--access-key", "YYYYY", "--instance", "x"], 2, "CLIENT_IDS"),
    ] {
        let (lines, errors, ended) = sign(arguments);
        assert_eq!((lines, ended), (Vec::new(), code), "{arguments:?}: {errors}");
        assert!(errors.contains(says) && !errors.contains("XXXXX"), "{arguments:?}: {errors}");
    }
    let (lines, _, code) = sign(&["--help"]);
    let help = lines.join("\n");
    assert!(code == 0 && help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
}
