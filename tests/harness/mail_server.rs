//! A real mail server as a process of the test's own (aiosmtpd), with TLS and a password, in whatever mood a story needs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// How it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// In the open, without a password.
    Plain,
    /// By STARTTLS, which it insists on, with a password.
    StartTls,
    /// By TLS from the first byte, with a password.
    Tls,
}

/// The server. It ends, and its mails go, with the test.
pub struct MailServer {
    folder: tempfile::TempDir,
    child: Option<Child>,
    port: u16,
    security: Security,
    answers: serde_json::Map<String, Value>,
    slow: serde_json::Map<String, Value>,
}

/// A mail it has taken.
#[derive(Debug, Clone)]
pub struct Arrived(Value);

impl MailServer {
    /// Starts one and waits until it listens.
    pub fn start(security: Security) -> Self {
        crate::choose_tls();
        let folder = tempfile::Builder::new().prefix("sluice-mail-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder, child: None, port, security, answers: Default::default(), slow: Default::default() };
        server.starts_again();
        server
    }

    /// Starts it on its port of before, after [`MailServer::kill`].
    pub fn starts_again(&mut self) {
        let security = match self.security {
            Security::Plain => "plain",
            Security::StartTls => "starttls",
            Security::Tls => "tls",
        };
        let mut child = Command::new(python())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/mail_server.py"))
            .args([self.folder.path().to_str().unwrap(), &self.port.to_string(), security])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the mail server did not start; is aiosmtpd installed (tests/clients/requirements.txt)?");
        self.child = Some(child);
    }

    /// `kill -9`; what it has taken stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// From now on it says this to an address; nothing: it takes its mails.
    pub fn answers(&mut self, address: &str, answer: Option<&str>) {
        match answer {
            Some(answer) => drop(self.answers.insert(address.into(), answer.into())),
            None => drop(self.answers.remove(address)),
        }
        self.order();
    }

    /// From now on it thinks for so many seconds about every mail to an address.
    pub fn is_slow_with(&mut self, address: &str, seconds: f64) {
        self.slow.insert(address.into(), seconds.into());
        self.order();
    }

    fn order(&self) {
        let (written, file) = (self.folder.path().join("orders.new"), self.folder.path().join("orders.json"));
        fs::write(&written, json!({ "answers": self.answers, "slow": self.slow }).to_string()).unwrap();
        fs::rename(written, file).unwrap();
    }

    /// Waits until it thinks about a mail.
    pub async fn thinks(&self) {
        while !self.folder.path().join("slowly").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// The settings of a portal that knows the server, its certificate and its password.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings_with_password("weir%20and%20lock")
    }

    /// The same with another password, as an address writes it.
    pub fn settings_with_password(&self, password: &str) -> Vec<(&'static str, String)> {
        let port = self.port;
        let url = match self.security {
            Security::Plain => format!("smtp://127.0.0.1:{port}"),
            Security::StartTls => format!("smtp://sluice:{password}@127.0.0.1:{port}?tls=required"),
            Security::Tls => format!("smtps://sluice:{password}@127.0.0.1:{port}"),
        };
        let ca = self.folder.path().join("ca.pem").to_str().unwrap().to_owned();
        vec![("SLUICE_SMTP_URL", url), ("SLUICE_SMTP_CA", ca), ("SLUICE_MAIL_FROM", "Sluice <sluice@lab.example>".into())]
    }

    /// Everything it has taken, in order.
    pub fn arrived(&self) -> Vec<Arrived> {
        let lines = fs::read_to_string(self.folder.path().join("mails.jsonl")).unwrap_or_default();
        lines.lines().map(|line| Arrived(serde_json::from_str(line).unwrap())).collect()
    }

    /// What it has taken for an address.
    pub fn arrived_for(&self, address: &str) -> Vec<Arrived> {
        self.arrived().into_iter().filter(|mail| mail.0["to"] == json!([address])).collect()
    }
}

impl Arrived {
    /// The header of this name; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let head = self.0["head"].as_array().unwrap();
        head.iter().find(|field| field[0].as_str().unwrap().eq_ignore_ascii_case(name)).map_or("", |field| field[1].as_str().unwrap())
    }

    /// The names of all headers, sorted.
    pub fn headers(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0["head"].as_array().unwrap().iter().map(|field| field[0].as_str().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// The part for those who read text.
    pub fn text(&self) -> &str {
        self.0["text"].as_str().unwrap()
    }

    /// The part for those who read HTML.
    pub fn html(&self) -> &str {
        self.0["html"].as_str().unwrap()
    }

    /// As it came.
    pub fn raw(&self) -> &str {
        self.0["raw"].as_str().unwrap()
    }

    /// Whether it came by TLS and with the password.
    pub fn is_secured(&self) -> bool {
        self.0["tls"] == true && self.0["authenticated"] == true
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The Python that has aiosmtpd, as `make test` installs it.
fn python() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/clients/bin/python");
    if ours.exists() { ours } else { PathBuf::from("python3") }
}
