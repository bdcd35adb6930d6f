//! Somebody at a terminal with `sluice pull`: the real binary, settings of its own, a folder to pull into.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::process::binary;

/// A machine of somebody who fetches models.
pub struct Puller {
    home: tempfile::TempDir,
    endpoint: String,
    token: Option<String>,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub out: String,
    pub said: String,
}

impl Puller {
    /// A machine that knows nothing yet but where to ask.
    pub fn new(endpoint: &str) -> Self {
        Self { home: tempfile::Builder::new().prefix("sluice-pull-").tempdir().unwrap(), endpoint: endpoint.to_owned(), token: None }
    }

    /// The same with a token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The same machine, asking elsewhere from now on.
    pub fn ask(&mut self, endpoint: &str) {
        self.endpoint = endpoint.to_owned();
    }

    /// Where it keeps everything.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where models are pulled into.
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("model")
    }

    /// A file of the pulled model.
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.folder().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
    }

    /// A command, not run yet.
    pub fn sluice(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        self.settle(&mut command);
        command.args(arguments);
        command
    }

    /// Gives a command this machine's environment and nothing else of ours.
    pub fn settle(&self, command: &mut Command) {
        command
            .env("HOME", self.home.path())
            .env("SLUICE_ENDPOINT", &self.endpoint)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("SLUICE_TOKEN")
            .env_remove("DATABASE_URL")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(token) = &self.token {
            command.env("SLUICE_TOKEN", token);
        }
    }

    /// Runs a command to its end, beside whatever the test does.
    pub async fn runs(&self, arguments: &[&str]) -> Ended {
        Self::ends(self.sluice(arguments).spawn().unwrap()).await
    }

    /// Pulls a model into [`Puller::folder`].
    pub async fn pulls(&self, model: &str, options: &[&str]) -> Ended {
        Self::ends(self.begins(model, options)).await
    }

    /// Begins to.
    pub fn begins(&self, model: &str, options: &[&str]) -> Child {
        let folder = self.folder();
        self.sluice(&[&["pull", model, folder.to_str().unwrap(), "--patience", "3"], options].concat()).spawn().unwrap()
    }

    /// Verifies [`Puller::folder`].
    pub async fn verifies(&self) -> Ended {
        self.runs(&["verify", self.folder().to_str().unwrap()]).await
    }

    /// Waits for the end of a command.
    pub async fn ends(child: Child) -> Ended {
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { status: output.status.code().unwrap_or(-1), out: text(output.stdout), said: text(output.stderr) }
    }
}

impl Ended {
    /// Panics unless it ended with this status, saying these words on stderr.
    #[track_caller]
    pub fn with(&self, status: i32, words: &str) -> &Self {
        assert!(self.status == status && self.said.contains(words), "not {status} and {words:?}, but {}: {}", self.status, self.said);
        self
    }

    /// Panics unless it did what it was asked to.
    #[track_caller]
    pub fn well(&self) -> &Self {
        self.with(0, "")
    }
}
