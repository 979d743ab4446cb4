//! Network namespaces: each log-node on a machine of its own, as far as one machine can. Needs root, `ip` and `nft`.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use holdfast_meta_etcd::testing::on_path;
use tokio::net::{TcpListener, TcpStream};

/// Which direction is cut, as the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing passes.
    Both,
    /// The node hears nothing, but is heard.
    In,
    /// The node is not heard, but hears.
    Out,
}

/// A namespace with one wire to this one. Removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Address of this end of the wire.
    pub outside: String,
    /// Address inside.
    pub inside: String,
}

/// Whether this process can make namespaces and cut wires.
#[must_use]
pub fn available() -> bool {
    rustix::process::geteuid().is_root()
        && on_path("ip").is_some()
        && on_path("nft").is_some()
        && run("ip", &["netns", "list"], "").is_ok()
}

fn run(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| program.to_owned())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    ensure!(
        done.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(())
}

impl Namespace {
    /// Makes the namespace and the wire of node `index`.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn make(index: usize) -> anyhow::Result<Self> {
        let pid = std::process::id();
        let (near, far) = (format!("hfd{pid}n{index}"), format!("hfd{pid}f{index}"));
        // Far apart for processes that run at the same time, and within the addresses that nobody routes.
        let (second, third) = (100 + pid % 128, (pid / 128 % 32) * 8 + index as u32 % 8);
        let name = format!("hfdrill-{pid}-{index}");
        run("ip", &["netns", "add", &name], "")?;
        let this = Self {
            name,
            outside: format!("10.{second}.{third}.1"),
            inside: format!("10.{second}.{third}.2"),
        };
        let outside = format!("{}/30", this.outside);
        let inside = format!("{}/30", this.inside);
        let wire = ["link", "add", &near, "type", "veth", "peer", "name", &far];
        run("ip", &wire, "")?;
        run("ip", &["link", "set", &far, "netns", &this.name], "")?;
        run("ip", &["addr", "add", &outside, "dev", &near], "")?;
        run("ip", &["link", "set", &near, "up"], "")?;
        let ip = |words: &[&str]| run("ip", &[&["-n", &this.name], words].concat(), "");
        ip(&["addr", "add", &inside, "dev", &far])?;
        ip(&["link", "set", &far, "up"])?;
        ip(&["link", "set", "lo", "up"])?;
        Ok(this)
    }

    /// The words before a command that is to run inside.
    #[must_use]
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Drops packets from now on, without a word to either end.
    ///
    /// # Errors
    /// What `nft` says.
    pub fn cut(&self, cut: Cut) -> anyhow::Result<()> {
        let mut rules = String::from("table inet cut {\n");
        for (spared, chain, interface) in [(Cut::Out, "input", "iif"), (Cut::In, "output", "oif")] {
            if cut != spared {
                rules += &format!("chain {chain} {{\ntype filter hook {chain} priority 0;\n");
                rules += &format!("{interface}name != \"lo\" drop\n}}\n");
            }
        }
        rules += "}\n";
        self.nft(&["-f", "-"], &rules)
    }

    /// Packets pass again.
    ///
    /// # Errors
    /// What `nft` says.
    pub fn mend(&self) -> anyhow::Result<()> {
        self.nft(&["delete", "table", "inet", "cut"], "")
    }

    fn nft(&self, words: &[&str], input: &str) -> anyhow::Result<()> {
        let inside = ["netns", "exec", &self.name, "nft"];
        run("ip", &[&inside, words].concat(), input)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The wire goes with it.
        if let Err(error) = run("ip", &["netns", "del", &self.name], "") {
            tracing::warn!(error = format!("{error:#}"), "a namespace is left over");
        }
    }
}

/// Passes connections on to `to`: namespaces reach what listens on the loopback of this one. Returns the port.
///
/// # Errors
/// No port is free.
pub async fn forward(to: String) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    let port = listener.local_addr()?.port();
    drop(tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let to = to.clone();
            drop(tokio::spawn(async move {
                if let Ok(mut far) = TcpStream::connect(to).await {
                    // Either end may go away.
                    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                }
            }));
        }
    }));
    Ok(port)
}
