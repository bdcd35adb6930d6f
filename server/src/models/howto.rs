//! Commands to copy, with this portal's real address and this release's real files.

use crate::catalog::{Gate, Model, Release, ReleaseFile};
use crate::config::Config;

/// One way to fetch a model.
pub(super) struct Way {
    /// What it is done with.
    pub(super) tool: &'static str,
    /// When one would choose it.
    pub(super) remark: &'static str,
    /// What to paste.
    pub(super) commands: String,
}

/// Every way, the surest first.
pub(super) fn ways(config: &Config, model: &Model, release: &Release, files: &[ReleaseFile]) -> Vec<Way> {
    let endpoint = config.url_of("").trim_end_matches('/').to_owned();
    let name = model.full_name();
    let gated = model.gate != Gate::Open;
    let token = if gated { "export HF_TOKEN=slc_…   # your token\n" } else { "" };
    let header = if gated { " \\\n  -H \"Authorization: Bearer $HF_TOKEN\"" } else { "" };
    let login = if gated { format!("sluice login --endpoint {endpoint}\n") } else { String::new() };
    let mut ways = vec![
        Way {
            tool: "sluice pull",
            remark: "Everything in parallel, each 16 MiB checked against the signature; repeat it to go on after a break.",
            commands: format!(
                "{login}export SLUICE_ENDPOINT={endpoint}\nsluice pull {name} --revision {}\nsluice verify {}",
                release.revision, model.name
            ),
        },
        Way {
            tool: "hf download",
            remark: "Fetches everything into the cache that transformers reads; repeat it to go on after a break.",
            commands: format!("export HF_ENDPOINT={endpoint}\n{token}hf download {name}"),
        },
        Way {
            tool: "transformers",
            remark: "Loads the model by name, with the variables above set.",
            commands: format!(
                "from transformers import AutoModelForCausalLM, AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained(\"{name}\")\n\
                 model = AutoModelForCausalLM.from_pretrained(\"{name}\", dtype=\"auto\")"
            ),
        },
    ];
    // Plain files by their revision: a name such as `main` could move between two halves of a download.
    if let Some(file) = files.iter().max_by_key(|file| file.size_bytes) {
        let url = format!("{endpoint}/{name}/resolve/{}/{}", release.revision, file.path);
        let target = file.path.rsplit('/').next().unwrap_or(&file.path);
        ways.push(Way {
            tool: "curl",
            remark: "One file; the same line goes on where it broke off.",
            commands: format!("curl -fL -C - -o {target}{header} \\\n  {url}"),
        });
        let header = if gated { " \\\n  --header=\"Authorization: Bearer $HF_TOKEN\"" } else { "" };
        ways.push(Way {
            tool: "aria2c",
            remark: "One file over eight connections, checked against its digest at the end.",
            commands: format!("aria2c -c -x8 -o {target} --checksum=sha-256={}{header} \\\n  {url}", file.sha256),
        });
    }
    ways
}

/// Every way to verify what was fetched, in the folder where it lies. None of them needs us.
pub(super) fn checks(config: &Config, model: &Model, release: &Release) -> Vec<Way> {
    let endpoint = config.url_of("").trim_end_matches('/').to_owned();
    let proofs = format!("{endpoint}/{}/proof/{}", model.full_name(), release.revision);
    let header = if model.gate == Gate::Open { "" } else { " \\\n  --header=\"Authorization: Bearer $HF_TOKEN\"" };
    vec![
        Way {
            tool: "sha256sum",
            remark: "Every file against its SHA-256.",
            commands: format!("curl -fsSLO {proofs}/SHA256SUMS\nsha256sum -c SHA256SUMS"),
        },
        Way {
            tool: "b3sum",
            remark: "The same by BLAKE3, several times as fast.",
            commands: format!("curl -fsSLO {proofs}/B3SUMS\nb3sum -c B3SUMS"),
        },
        Way {
            tool: "aria2c with Metalink",
            remark: "Fetches everything, each piece of 16 MiB against its digest; in a folder that has the files it checks them and fetches only the bad pieces.",
            commands: format!("aria2c -V -x4{header} \\\n  {proofs}/release.meta4"),
        },
        Way {
            tool: "model_signing",
            remark: "The publisher's signature, by the OpenSSF's own tool. Fetch the key once, and keep it: who could change the files here could change the key, too.",
            commands: format!(
                "pip install model-signing==1.1.1 pyopenssl\ncurl -fsSLO {endpoint}/.well-known/sluice-key.pem\n\
                 curl -fsSLO {proofs}/model.sig -fsSLO {proofs}/documents.sig\n\
                 model_signing verify key --public_key sluice-key.pem --signature model.sig .\n\
                 model_signing verify key --public_key sluice-key.pem --signature documents.sig ."
            ),
        },
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use crate::ids::{ModelId, ReleaseId};

    fn commands(gate: Gate) -> String {
        let config = Config::from_lookup(|name| (name == "SLUICE_PUBLIC_URL").then(|| "https://weights.example.org/".to_owned())).unwrap();
        let at = time::OffsetDateTime::UNIX_EPOCH;
        let (id, org, name) = (ModelId::fresh(), "acme".to_owned(), "tiny".to_owned());
        let model = Model { id, org, name, gate, licence_sha256: None, summary: String::new(), created_at: at };
        let (revision, notes) = ("0f".repeat(20), String::new());
        let release = Release {
            id: ReleaseId::fresh(),
            model_id: id,
            revision,
            notes,
            config_json: None,
            published_at: at,
            yanked_at: None,
            yank_reason: None,
        };
        let file = |path: &str, size_bytes| ReleaseFile {
            path: path.into(),
            size_bytes,
            sha256: "ab".repeat(32),
            blake3: String::new(),
            git_sha1: String::new(),
            is_lfs: true,
        };
        let files = [file("config.json", 600), file("model.safetensors", 1_000_000)];
        ways(&config, &model, &release, &files).into_iter().map(|way| way.commands).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_commands_carry_the_public_address_and_the_revision() {
        let commands = commands(Gate::Application);
        assert!(commands.contains("HF_ENDPOINT=https://weights.example.org\n"), "{commands}");
        let url = format!("https://weights.example.org/acme/tiny/resolve/{}/model.safetensors", "0f".repeat(20));
        assert_eq!(commands.matches(&url).count(), 2, "{commands}");
        assert_eq!(commands.matches("$HF_TOKEN").count(), 2, "{commands}");
        let pull = format!("export SLUICE_ENDPOINT=https://weights.example.org\nsluice pull acme/tiny --revision {}\n", "0f".repeat(20));
        assert!(commands.starts_with("sluice login --endpoint https://weights.example.org\n") && commands.contains(&pull), "{commands}");
    }

    #[test]
    fn an_open_model_needs_no_token() {
        let commands = commands(Gate::Open);
        assert!(!commands.contains("TOKEN") && !commands.contains("login"), "{commands}");
    }
}
