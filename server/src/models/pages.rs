//! The pages, and what goes onto them.

use askama::Template;

use super::howto::Way;
use super::memory::{Memory, Verdict};
use super::standing::Standing;
use crate::catalog::{Gate, Licence, Model, NamedRelease, ReleaseFile, ReleaseState, SafeHtml, human_bytes};
use crate::http::{Frame, when};

/// A model as lists show it.
pub(super) struct Entry {
    pub(super) full_name: String,
    pub(super) summary: String,
    pub(super) is_open: bool,
}

impl From<Model> for Entry {
    fn from(model: Model) -> Self {
        Self { full_name: model.full_name(), is_open: model.gate == Gate::Open, summary: model.summary }
    }
}

/// `GET /`
#[derive(Template)]
#[template(path = "home.html")]
pub(super) struct HomePage {
    pub(super) frame: Frame,
    pub(super) models: Vec<Entry>,
    pub(super) models_total: usize,
}

/// `GET /models`
#[derive(Template)]
#[template(path = "models/list.html")]
pub(super) struct ListPage {
    pub(super) frame: Frame,
    pub(super) search: String,
    pub(super) gate: Option<Gate>,
    pub(super) models: Vec<Entry>,
    /// Whether there are more than are shown.
    pub(super) more: bool,
}

impl ListPage {
    fn is_filtered(&self) -> bool {
        !self.search.is_empty() || self.gate.is_some()
    }

    fn wants(&self, gate: &str) -> bool {
        self.gate.is_some_and(|chosen| chosen.as_str() == gate)
    }
}

/// What every page about one model shows above its own part.
pub(super) struct Head {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) summary: String,
    pub(super) is_open: bool,
    pub(super) has_licence: bool,
    /// Which tab is open: "", "files" or "licence".
    pub(super) tab: &'static str,
}

impl Head {
    pub(super) fn of(model: &Model, tab: &'static str) -> Self {
        Self {
            name: model.full_name(),
            path: model.path(),
            summary: model.summary.clone(),
            is_open: model.gate == Gate::Open,
            has_licence: model.licence_sha256.is_some(),
            tab,
        }
    }
}

/// A release as the model's page lists it.
pub(super) struct ReleaseLine {
    pub(super) revision: String,
    pub(super) short: String,
    pub(super) names: Vec<String>,
    pub(super) published: String,
    /// The same day, as programs read it.
    pub(super) published_on: String,
    pub(super) notes: String,
    pub(super) state: ReleaseState,
    /// Since when and why nobody gets it.
    pub(super) yanked: Option<(String, String)>,
}

impl ReleaseLine {
    pub(super) fn of(named: NamedRelease) -> Self {
        let state = named.state();
        let NamedRelease { release, names } = named;
        Self {
            state,
            names,
            yanked: release.yanked_at.zip(release.yank_reason.clone()).map(|(at, reason)| (when::day(at), reason)),
            short: release.revision.chars().take(10).collect(),
            published: when::day(release.published_at),
            published_on: when::date_field(release.published_at.date()),
            notes: release.notes,
            revision: release.revision,
        }
    }
}

/// `GET /{org}/{name}`
#[derive(Template)]
#[template(path = "models/model.html")]
pub(super) struct ModelPage {
    pub(super) frame: Frame,
    pub(super) head: Head,
    pub(super) standing: Standing,
    pub(super) card: Option<SafeHtml>,
    pub(super) licence_name: Option<String>,
    pub(super) size: String,
    pub(super) files: usize,
    pub(super) memory: Option<Memory>,
    pub(super) ways: Vec<Way>,
    pub(super) checks: Vec<Way>,
    /// The path of the release's proofs, without a slash at its end.
    pub(super) proofs: String,
    /// Since when and why nobody gets what `main` names: then there is no good release.
    pub(super) yanked: Option<(String, String)>,
    pub(super) releases: Vec<ReleaseLine>,
}

/// A file of a release as its page lists it.
pub(super) struct FileLine {
    pub(super) file: ReleaseFile,
    pub(super) size: String,
}

impl From<ReleaseFile> for FileLine {
    fn from(file: ReleaseFile) -> Self {
        Self { size: human_bytes(file.size_bytes.unsigned_abs()), file }
    }
}

/// `GET /{org}/{name}/files`
#[derive(Template)]
#[template(path = "models/files.html")]
pub(super) struct FilesPage {
    pub(super) frame: Frame,
    pub(super) head: Head,
    pub(super) release: ReleaseLine,
    pub(super) releases: Vec<ReleaseLine>,
    pub(super) files: Vec<FileLine>,
    pub(super) size: String,
}

/// `GET /{org}/{name}/licence`
#[derive(Template)]
#[template(path = "models/licence.html")]
pub(super) struct LicencePage {
    pub(super) frame: Frame,
    pub(super) head: Head,
    pub(super) licence: Licence,
    pub(super) text: SafeHtml,
}
