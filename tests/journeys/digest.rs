//! `sluice digest`: the same tensors have the same digests in whatever file somebody holds them, and a release has them too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tests::{Installation, Weights};

use self::saved::{Half, cut, fused, save, weights};

#[path = "../../inference/tests/saved/mod.rs"]
mod saved;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/fixtures/opt").join(name)
}

/// What the command prints of a file or a folder: the digest of each tensor, by its name without the prefix that some give it; and what it says.
fn digests(here: &Installation, path: &Path) -> (BTreeMap<String, String>, String) {
    let output = here.output(&["digest", path.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines = printed.lines().filter_map(|line| line.split_once("  ")).filter(|(_, name)| !name.starts_with("all of "));
    (lines.map(|(digest, name)| (name.trim_start_matches("model.").to_owned(), digest.to_owned())).collect(), said)
}

/// Parts under the names that they have.
fn parts(folder: &Path, tensors: &[Half]) {
    for part in 0..2 {
        save(&folder.join(format!("reshard-model_part-{part}.pt")), &fused(&cut(tensors, part, 2)));
    }
}

#[test]
fn the_container_does_not_matter() {
    let (here, home) = (Installation::fresh(), tempfile::tempdir().unwrap());
    let at = |name: &str| home.path().join(name);
    // The weights of a fixture that is one `.bin`, as Meta's training would have saved them, and as a publication rewrites them.
    let pickled = fixture("postln-proj-fp16-bin");
    let checkpoint = inference::Checkpoint::open_dir(&pickled).unwrap();
    inference::checkpoint::convert(&checkpoint, home.path(), u64::MAX, &|_| ()).unwrap();
    save(&at("plain.pt"), &weights(&pickled));
    save(&at("consolidated.pt"), &fused(&weights(&pickled)));
    let (mut of_bin, said) = digests(&here, &pickled.join("pytorch_model.bin"));
    // The head, where it is stored, is the table of tokens again.
    of_bin.remove("lm_head.weight");
    assert!(of_bin.len() > 20 && !said.contains("part"), "{said}");
    for name in ["model.safetensors", "plain.pt", "consolidated.pt"] {
        assert_eq!(digests(&here, &at(name)).0, of_bin, "{name}");
    }

    std::fs::create_dir(at("parts")).unwrap();
    std::fs::copy(pickled.join("config.json"), at("parts/config.json")).unwrap();
    parts(&at("parts"), &weights(&pickled));
    assert_eq!(digests(&here, &at("parts")).0, of_bin, "the folder joins the parts");
    let (of_part, said) = digests(&here, &at("parts/reshard-model_part-1.pt"));
    assert!(of_part.keys().eq(of_bin.keys()) && of_part != of_bin);
    assert!(said.contains("one part of a model") && said.contains("sluice digest"), "{said}");
}

#[tokio::test]
async fn parts_are_published_as_the_model_that_they_are() {
    let here = Installation::fresh();
    let given = Weights::of("preln-fp16-sharded");
    let whole = weights(given.path());
    let (mut expected, _) = digests(&here, given.path());
    expected.remove("lm_head.weight");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), given.read("config.json")).unwrap();
    parts(folder.path(), &whole);
    let revision = here.run(&["publish", folder.path().to_str().unwrap(), "acme/parts", "--gate", "open"]);
    let portal = here.serve().await;
    let answer = reqwest::get(format!("{}/acme/parts/resolve/{revision}/model.safetensors", portal.base)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let pulled = folder.path().join("pulled.safetensors");
    std::fs::write(&pulled, answer.bytes().await.unwrap()).unwrap();
    assert_eq!(digests(&here, &pulled).0, expected);
}
