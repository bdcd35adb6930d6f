//! Every route, as the source registers it.

use std::collections::BTreeSet;
use std::path::Path;

/// The method and the pattern of every `route(` and `resource(` anywhere in the server.
pub fn registered() -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/src"), &mut routes);
    assert!(routes.len() > 200, "the routes are found: {routes:?}");
    routes
}

fn collect(folder: &Path, routes: &mut BTreeSet<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, routes);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split(".route(\"").skip(1) {
                let (pattern, rest) = call.split_once('"').unwrap();
                routes.insert((method(rest.trim_start_matches([',', ' '])), pattern.to_owned()));
            }
            for call in text.split("resource(\"").skip(1) {
                let (pattern, rest) = call.split_once('"').unwrap();
                let methods = rest.split([';', '"']).next().unwrap().split(".route(").skip(1).filter(|guard| !guard.is_empty());
                routes.extend(methods.map(|guard| (method(guard), pattern.to_owned())));
            }
        }
    }
}

/// The method that `get()`, `web::get()` and their like are for.
fn method(guard: &str) -> String {
    match guard.trim_start_matches("web::").split('(').next().unwrap() {
        "file" => "GET".into(),
        "file_head" => "HEAD".into(),
        named @ ("get" | "post" | "put" | "delete" | "head") => named.to_uppercase(),
        other => panic!("{other} is no method"),
    }
}
