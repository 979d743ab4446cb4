//! Settings: where etcd is, how to log in, how long to wait.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

/// Longest prefix, in bytes: what a full transaction may spend on it without growing too large for etcd.
const PREFIX_BYTES_MAX: usize = 128;

/// Settings of the metadata store over etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The client addresses of all members, `http://host:2379` or `https://host:2379`. They are asked in
    /// this order, so the nearest comes first.
    pub endpoints: Vec<String>,
    /// What all keys of this cluster begin with: `/holdfast/<name of the cluster>/`. Clusters that share an
    /// etcd must differ in it.
    pub prefix: String,
    /// The user to log in as; none where etcd asks for none.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Certificates, for `https` endpoints.
    pub tls: Tls,
    /// Longest time until a member is connected and the login is done.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Longest time one member may take for a read before the next one is asked.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Longest time a member may take for a transaction. After it the outcome is unknown.
    #[serde(with = "humantime_serde")]
    pub txn_timeout: Duration,
    /// Longest time of a whole operation, over all members and repetitions.
    #[serde(with = "humantime_serde")]
    pub operation_timeout: Duration,
    /// A watch whose member says nothing for so long moves to the next member.
    #[serde(with = "humantime_serde")]
    pub watch_silence_max: Duration,
}

/// Certificates of the connection to etcd. All files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Who signs the members' certificates. Needed for `https` endpoints: the system's list is not used.
    pub ca_file: Option<PathBuf>,
    /// This client's certificate, where etcd asks for one.
    pub cert_file: Option<PathBuf>,
    /// The key of that certificate.
    pub key_file: Option<PathBuf>,
    /// The name the members' certificates are for, where it is not the host of the endpoint.
    pub server_name: Option<String>,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

const REDACTED: &str = "<redacted>";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Settings may be printed, so what is written is not what was read.
impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            prefix: "/holdfast/default/".to_owned(),
            username: None,
            password: None,
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            txn_timeout: Duration::from_secs(2),
            operation_timeout: Duration::from_secs(10),
            watch_silence_max: Duration::from_secs(3),
        }
    }
}

impl Options {
    /// Checks what a type can't say.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn validate(&self) -> Result<(), String> {
        if self.endpoints.is_empty() {
            return Err("endpoints: names no member".to_owned());
        }
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            let scheme = check_endpoint(endpoint).map_err(|e| format!("endpoints[{at}]: {e}"))?;
            match (scheme, self.tls.ca_file.is_some()) {
                (Scheme::Https, false) => {
                    return Err(format!("tls.ca_file: is needed for {endpoint}"));
                }
                (Scheme::Http, true) => {
                    return Err(format!(
                        "endpoints[{at}]: {endpoint} is not https, but tls.ca_file is set"
                    ));
                }
                _ => {}
            }
        }
        check_prefix(&self.prefix).map_err(|e| format!("prefix: {:?} {e}", self.prefix))?;
        match (&self.username, &self.password) {
            (Some(name), _) if name.is_empty() => return Err("username: is empty".to_owned()),
            (Some(_), None) => return Err("password: is needed for username".to_owned()),
            (None, Some(_)) => return Err("username: is needed for password".to_owned()),
            _ => {}
        }
        let Tls {
            ca_file,
            cert_file,
            key_file,
            server_name,
        } = &self.tls;
        if cert_file.is_some() != key_file.is_some() {
            return Err("tls.cert_file: goes with tls.key_file, one of them is missing".to_owned());
        }
        if ca_file.is_none() && (cert_file.is_some() || server_name.is_some()) {
            return Err("tls.ca_file: is needed for the other keys of tls".to_owned());
        }
        let least = Duration::from_millis(10);
        for (key, value) in [
            ("connect_timeout", self.connect_timeout),
            ("read_timeout", self.read_timeout),
            ("txn_timeout", self.txn_timeout),
            ("operation_timeout", self.operation_timeout),
            ("watch_silence_max", self.watch_silence_max),
        ] {
            if value < least {
                return Err(format!("{key}: {value:?} is less than {least:?}"));
            }
        }
        for (key, value) in [
            ("read_timeout", self.read_timeout),
            ("txn_timeout", self.txn_timeout),
        ] {
            if value > self.operation_timeout {
                return Err(format!(
                    "{key}: {value:?} is more than operation_timeout, {:?}",
                    self.operation_timeout
                ));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Scheme {
    Http,
    Https,
}

fn check_endpoint(endpoint: &str) -> Result<Scheme, String> {
    let uri: Uri = endpoint
        .parse()
        .map_err(|e| format!("{endpoint:?} is not an address: {e}"))?;
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => {
            return Err(format!(
                "{endpoint:?} does not begin with http:// or https://"
            ));
        }
    };
    // A user in an address would be logged with it.
    if uri.authority().is_none_or(|a| a.as_str().contains('@')) || uri.port_u16().is_none() {
        return Err(format!(
            "an address is scheme://host:port, and a user goes to username; {} is not",
            endpoint.rsplit('@').next().unwrap_or_default()
        ));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(format!("{endpoint:?} has more than a host and a port"));
    }
    Ok(scheme)
}

fn check_prefix(prefix: &str) -> Result<(), String> {
    if prefix.len() > PREFIX_BYTES_MAX {
        return Err(format!("is longer than {PREFIX_BYTES_MAX} bytes"));
    }
    let inner = prefix.strip_prefix('/').and_then(|p| p.strip_suffix('/'));
    let Some(inner) = inner else {
        return Err("does not begin and end with /".to_owned());
    };
    let fine = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if !inner.split('/').all(fine) {
        return Err("has a part that is empty or not of letters, digits, `.`, `_`, `-`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(toml: &str, expect: &str) {
        let options: Options = toml::from_str(toml).unwrap();
        let said = options.validate().err().unwrap_or_default();
        assert!(said.contains(expect), "{said}");
        assert_eq!(said.is_empty(), expect.is_empty(), "{said}");
    }

    #[test]
    fn defaults_and_whole_settings_pass() {
        check("", "");
        check(
            r#"
            endpoints = ["https://a:2379", "https://[::1]:2379/"]
            prefix = "/holdfast/prod-1/"
            username = "holdfast"
            password = "secret"
            tls = { ca_file = "ca.pem", cert_file = "c.pem", key_file = "k.pem", server_name = "etcd" }
            read_timeout = "500ms"
            "#,
            "",
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("endpoints = []", "endpoints: names no member");
        check(r#"endpoints = ["localhost:2379"]"#, "endpoints[0]");
        check(r#"endpoints = ["http://a"]"#, "host:port");
        check(r#"endpoints = ["http://a:1/v3"]"#, "more than a host");
        check(r#"endpoints = ["https://a:1"]"#, "tls.ca_file: is needed");
        check(r#"tls = { ca_file = "x" }"#, "is not https");
        check(r#"prefix = "holdfast/""#, "does not begin");
        check(r#"prefix = "/""#, "does not begin");
        check(r#"prefix = "//""#, "empty");
        check(r#"prefix = "/a b/""#, "letters");
        check(r#"username = "u""#, "password: is needed");
        check(r#"password = "p""#, "username: is needed");
        check(
            r#"
            endpoints = ["https://a:1"]
            tls = { ca_file = "x", cert_file = "y" }
            "#,
            "goes with tls.key_file",
        );
        check(r#"read_timeout = "0s""#, "read_timeout");
        check(r#"txn_timeout = "1h""#, "more than operation_timeout");
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let options = Options {
            endpoints: vec!["http://user:hunter2@a:2379".to_owned()],
            ..Options::default()
        };
        let said = options.validate().unwrap_err();
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = Options {
            username: Some("u".to_owned()),
            password: Some(Secret::new("hunter2")),
            ..Options::default()
        };
        let shown = format!("{options:?} {}", toml::to_string(&options).unwrap());
        assert!(
            !shown.contains("hunter2") && shown.contains("<redacted>"),
            "{shown}"
        );
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<Options>("colour = 1").is_err());
    }
}
