//! Certificates made for one test: an authority, a server for `localhost` and `127.0.0.1`, and a client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Paths of PEM files.
#[derive(Debug, Clone)]
pub struct Certificates {
    pub authority: PathBuf,
    pub server: PathBuf,
    pub server_key: PathBuf,
    pub client: PathBuf,
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes them in a folder.
    pub fn create(folder: &Path) -> Self {
        let authority_key = folder.join("ca.key");
        let made = Self {
            authority: folder.join("ca.pem"),
            server: folder.join("server.pem"),
            server_key: folder.join("server.key"),
            client: folder.join("client.pem"),
            client_key: folder.join("client.key"),
        };
        openssl(&format!(
            "req -x509 -days 30 -subj /CN=test-authority {KEY} -keyout {} -out {} -addext keyUsage=critical,keyCertSign",
            authority_key.display(),
            made.authority.display()
        ));
        let server = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n";
        issue(folder, "server", server, &made.server_key, &made.server);
        issue(folder, "client", "extendedKeyUsage=clientAuth\n", &made.client_key, &made.client);
        made
    }
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

fn issue(folder: &Path, name: &str, extensions: &str, key: &Path, certificate: &Path) {
    let (request, extension_file) = (folder.join("request.csr"), folder.join("extensions"));
    fs::write(&extension_file, extensions).expect("write certificate extensions");
    let ca = folder.join("ca");
    let ca = ca.display();
    openssl(&format!("req -subj /CN={name} {KEY} -keyout {} -out {}", key.display(), request.display()));
    openssl(&format!(
        "x509 -req -days 30 -in {} -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -extfile {} -out {}",
        request.display(),
        extension_file.display(),
        certificate.display()
    ));
}

fn openssl(arguments: &str) {
    let output = Command::new("openssl").args(arguments.split_whitespace()).output().expect("run openssl");
    assert!(output.status.success(), "openssl {arguments}\n{}", String::from_utf8_lossy(&output.stderr));
}
