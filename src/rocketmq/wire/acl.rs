//! The ACL signature of a request. It must never keep or print a secret.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::frame::Request;

const ACCESS_KEY: &str = "AccessKey";
const SIGNATURE: &str = "Signature";

/// Adds `AccessKey` and `Signature`: HMAC-SHA1 over the values of all fields, sorted by name, and the body.
pub fn sign(request: &mut Request, access_key: &str, secret_key: &str) {
    request.fields.push(ACCESS_KEY, access_key.to_owned());
    let mut fields: Vec<_> = request.fields.iter().collect();
    fields.sort_unstable();
    let mut mac = Hmac::<Sha1>::new_from_slice(secret_key.as_bytes()).expect("HMAC takes keys of every length");
    for (_, value) in fields {
        mac.update(value.as_bytes());
    }
    mac.update(&request.body);
    request.fields.push(SIGNATURE, BASE64_STANDARD.encode(mac.finalize().into_bytes()));
}
