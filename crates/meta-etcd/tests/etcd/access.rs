//! Passwords and certificates.

use std::{fs, path::Path, process::Command, time::Duration};

use etcd_client::{Permission, PermissionType};
use futures::StreamExt;
use holdfast_meta::{
    MetaError, MetaStore,
    contract::{put, soon},
};
use holdfast_meta_etcd::{
    EtcdStore, Options, Secret,
    testing::{self, Certificates, EtcdCluster, Setup, wait_for},
};
use holdfast_types::{Code, Coded};

const PASSWORD: &str = "correct horse";

fn login(cluster: &EtcdCluster, name: &str, password: &str) -> Options {
    Options {
        username: Some("holdfast".to_owned()),
        password: Some(Secret::new(password)),
        connect_timeout: Duration::from_secs(5),
        ..cluster.options(name)
    }
}

async fn ask_for_passwords(cluster: &EtcdCluster) {
    let mut admin = cluster.client(0).await.unwrap();
    admin.user_add("root", "root", None).await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.user_add("holdfast", PASSWORD, None).await.unwrap();
    admin.role_add("holdfast").await.unwrap();
    let all = Permission::new(PermissionType::Readwrite, "/holdfast/a/").with_prefix();
    admin.role_grant_permission("holdfast", all).await.unwrap();
    admin.user_grant_role("holdfast", "holdfast").await.unwrap();
    admin.auth_enable().await.unwrap();
}

pub(crate) async fn a_password_is_asked_for() {
    let mut cluster = EtcdCluster::start(1).await;
    let error = EtcdStore::connect(login(&cluster, "a", PASSWORD)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("authentication is not enabled"), "{error}");
    ask_for_passwords(&cluster).await;

    // No password, a wrong one, and a right one for another cluster's keys: each says what is wrong.
    for (options, said) in [
        (cluster.options("a"), "user name is empty"),
        (
            login(&cluster, "a", "wrong battery"),
            "authentication failed",
        ),
        (login(&cluster, "b", PASSWORD), "permission denied"),
    ] {
        let error = EtcdStore::connect(options).await.unwrap_err();
        assert!(matches!(error, MetaError::Denied { .. }), "{error}");
        assert_eq!(error.code(), Code::Unavailable);
        let text = format!("{error} {error:?}");
        assert!(text.contains(said), "{text}");
        assert!(
            !text.contains("battery") && !text.contains("horse"),
            "{text}"
        );
    }

    let store = EtcdStore::connect(login(&cluster, "a", PASSWORD))
        .await
        .unwrap();
    assert!(!format!("{store:?}").contains(PASSWORD));
    let first = put(&store, "k", "1").await.unwrap();
    let mut watch = store.watch("", first).await.unwrap();
    let second = put(&store, "k", "2").await.unwrap();
    assert_eq!(soon(watch.next()).await.unwrap().unwrap().revision, second);

    // A member that starts again knows no login any more; store and watch log in anew.
    cluster.kill(0);
    cluster.start_again(0);
    let third = wait_for("a put after the restart", || async {
        put(&store, "k", "3").await.ok()
    })
    .await;
    let mut told = second;
    while told < third {
        let changes = soon(watch.next()).await.unwrap().unwrap();
        assert!(changes.revision > told);
        told = changes.revision;
    }
    assert_eq!(told, third);

    // Rights that are taken away end a watch that is opened later, with an error.
    let mut admin = etcd_client::Client::connect(
        [cluster.endpoint(0)],
        Some(etcd_client::ConnectOptions::new().with_user("root", "root")),
    )
    .await
    .unwrap();
    admin
        .user_revoke_role("holdfast", "holdfast")
        .await
        .unwrap();
    let error = store.get("k").await.unwrap_err();
    assert!(matches!(error, MetaError::Denied { .. }), "{error}");
    let mut watch = store.watch("", third).await.unwrap();
    let error = soon(watch.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, MetaError::Denied { .. }), "{error}");
}

/// A certificate authority, and one certificate for members and clients, made with the openssl program.
fn certificates(dir: &Path) -> Certificates {
    let certificates = Certificates {
        ca: dir.join("ca.pem"),
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
    };
    let openssl = |arguments: &str| {
        let ran = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(ran.status.success(), "openssl {arguments}: {ran:?}");
    };
    fs::write(
        dir.join("extensions"),
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n",
    )
    .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca"
    ));
    openssl(&format!(
        "req {key} -keyout key.pem -out request.pem -subj /CN=etcd"
    ));
    openssl(
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem",
    );
    certificates
}

pub(crate) async fn certificates_are_asked_for() {
    assert!(
        testing::on_path("openssl").is_some(),
        "openssl makes the certificates of this test: install it"
    );
    let dir = tempfile::tempdir().unwrap();
    let cluster = EtcdCluster::start_with(Setup {
        members: 1,
        certificates: Some(certificates(dir.path())),
        ..Setup::default()
    })
    .await;
    let good = cluster.options("a");
    let store = EtcdStore::connect(good.clone()).await.unwrap();
    let first = put(&store, "k", "v").await.unwrap();
    let mut watch = store.watch("", first).await.unwrap();
    let second = put(&store, "k", "w").await.unwrap();
    assert_eq!(soon(watch.next()).await.unwrap().unwrap().revision, second);

    // A member whose certificate somebody else signed is not talked to, and a client without a certificate
    // is not listened to.
    let strange = tempfile::tempdir().unwrap();
    let mut other_ca = good.clone();
    other_ca.tls.ca_file = Some(certificates(strange.path()).ca);
    let mut no_certificate = good.clone();
    no_certificate.tls.cert_file = None;
    no_certificate.tls.key_file = None;
    let mut wrong_name = good.clone();
    wrong_name.tls.server_name = Some("somebody.else".to_owned());
    for mut options in [other_ca, no_certificate, wrong_name] {
        options.operation_timeout = Duration::from_secs(4);
        let error = EtcdStore::connect(options).await.unwrap_err();
        assert!(matches!(error, MetaError::OutOfReach { .. }), "{error}");
    }
    let mut missing = good;
    missing.tls.ca_file = Some(dir.path().join("missing.pem"));
    let error = EtcdStore::connect(missing).await.unwrap_err().to_string();
    assert!(
        error.contains("tls.ca_file") && error.contains("missing.pem"),
        "{error}"
    );
}
