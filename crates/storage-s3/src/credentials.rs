//! Who we are to the bucket: from the environment or a profile file.

use std::{collections::BTreeMap, fmt, fs};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use crate::Options;

/// Variables that name a secret or where to get one; the AWS tools read the same.
const VARIABLES: [(&str, AmazonS3ConfigKey); 10] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        AmazonS3ConfigKey::WebIdentityTokenFile,
    ),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
];

/// Keys of a profile in a file, as the variables that say the same.
const IN_FILES: [(&str, &str); 3] = [
    ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("aws_session_token", "AWS_SESSION_TOKEN"),
];

/// Credentials, or where they come from. Never shown.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<&'static str, String>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Credentials {
    /// Those of the file that the options name, else those of the environment. `variable` looks one up. None at
    /// all means those of the machine, as AWS gives them to its own.
    ///
    /// # Errors
    /// A sentence that says which half is missing, or what is wrong with the file; never what is in it.
    pub fn load(
        options: &Options,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let file = &options.credentials_file;
        let (found, origin) = if file.as_os_str().is_empty() {
            let given = VARIABLES.iter().filter_map(|(name, _)| {
                let value = variable(name)?;
                (!value.is_empty()).then_some((*name, value))
            });
            (Self(given.collect()), "the environment".to_owned())
        } else {
            let text = fs::read_to_string(file)
                .map_err(|e| format!("credentials_file {}: {e}", file.display()))?;
            let origin = format!("profile {:?} of {}", options.profile, file.display());
            let found = profile(&text, &options.profile).ok_or_else(|| {
                format!(
                    "profile: {} has no profile {:?}",
                    file.display(),
                    options.profile
                )
            })?;
            if found.0.is_empty() {
                return Err(format!("{origin} has no aws_access_key_id"));
            }
            (found, origin)
        };
        let has = |name| found.0.contains_key(name);
        match (has("AWS_ACCESS_KEY_ID"), has("AWS_SECRET_ACCESS_KEY")) {
            (true, false) => Err(format!("{origin} has an access key but no secret key")),
            (false, true) => Err(format!("{origin} has a secret key but no access key")),
            _ => Ok(found),
        }
    }

    /// Whether they say anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn give(&self, mut builder: AmazonS3Builder) -> AmazonS3Builder {
        for (name, key) in VARIABLES {
            if let Some(value) = self.0.get(name) {
                builder = builder.with_config(key, value);
            }
        }
        builder
    }
}

/// The keys of one profile, when the text has it.
fn profile(text: &str, wanted: &str) -> Option<Credentials> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let name = name.trim();
            inside = name == wanted || name.strip_prefix("profile ").map(str::trim) == Some(wanted);
            if inside {
                found.get_or_insert_with(Credentials::default);
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once('='))
            && let Some((_, name)) = IN_FILES.iter().find(|(known, _)| *known == key.trim())
            && let Some(found) = &mut found
            && !value.trim().is_empty()
        {
            found.0.insert(name, value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# a comment
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key=hunter2=
[profile other]
  aws_access_key_id = AKIAOTHER
  aws_secret_access_key = hunter3
  aws_session_token = token
  region = elsewhere
[empty]
[half]
aws_access_key_id = AKIAHALF
";

    fn load(name: &str) -> Result<Credentials, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        std::fs::write(&file, FILE).unwrap();
        let options = Options {
            credentials_file: file,
            profile: name.to_owned(),
            ..Options::default()
        };
        Credentials::load(&options, |_| panic!("the environment is not asked"))
    }

    #[test]
    fn a_profile_is_read_and_never_shown() {
        let default = load("default").unwrap();
        assert_eq!(default.0["AWS_SECRET_ACCESS_KEY"], "hunter2=");
        assert_eq!(default.0.len(), 2);
        let shown = format!("{default:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("AKIA"),
            "{shown}"
        );
        let other = load("other").unwrap();
        assert_eq!(other.0["AWS_ACCESS_KEY_ID"], "AKIAOTHER");
        assert_eq!(other.0["AWS_SESSION_TOKEN"], "token");
    }

    #[test]
    fn what_is_missing_is_said() {
        for (name, expect) in [
            ("none", "no profile \"none\""),
            ("empty", "no aws_access_key_id"),
            ("half", "no secret key"),
        ] {
            let error = load(name).unwrap_err();
            assert!(error.contains(expect), "{error}");
            assert!(!error.contains("AKIA"), "{error}");
        }
        let options = Options {
            credentials_file: "/no/such/file".into(),
            ..Options::default()
        };
        let error = Credentials::load(&options, |_| None).unwrap_err();
        assert!(
            error.starts_with("credentials_file /no/such/file"),
            "{error}"
        );
    }

    #[test]
    fn the_environment_counts_when_no_file_is_named() {
        let options = Options::default();
        let both = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("x".to_owned()),
            "AWS_SESSION_TOKEN" => Some(String::new()),
            _ => None,
        };
        assert_eq!(Credentials::load(&options, both).unwrap().0.len(), 2);
        let half = |name: &str| (name == "AWS_SECRET_ACCESS_KEY").then(|| "x".to_owned());
        let error = Credentials::load(&options, half).unwrap_err();
        assert_eq!(error, "the environment has a secret key but no access key");
        assert!(Credentials::load(&options, |_| None).unwrap().is_empty());
    }
}
