//! Ids as people know them, in rows that hold them as the database does.

use serde_json::Value;
use uuid::Uuid;

use crate::ids::{AccountId, ApplicationId, CommentId, GrantId, ModelId, ReleaseId, RenewalId, TokenId};

/// Prints the ids in `row`: its own by `own`, others by the name of their column; of what no name tells the kind, the UUID stays.
pub(super) fn printed(row: &mut Value, own: fn(Uuid) -> String) {
    match row {
        Value::Object(fields) => {
            let renews = fields.contains_key("grant_id");
            for (name, value) in fields.iter_mut() {
                match value {
                    Value::String(text) => {
                        let own: fn(Uuid) -> String = if renews { |id| RenewalId::from(id).to_string() } else { own };
                        if let (Some(print), Ok(id)) = (kind(name, own), text.parse::<Uuid>()) {
                            *text = print(id);
                        }
                    }
                    // Comments are inside applications, and requests for a renewal, which name their grant, inside grants.
                    inner => printed(inner, |id| CommentId::from(id).to_string()),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| printed(item, own)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn kind(name: &str, own: fn(Uuid) -> String) -> Option<fn(Uuid) -> String> {
    match name {
        "id" => Some(own),
        "account_id" | "author_id" | "appeal_against" => Some(|id| AccountId::from(id).to_string()),
        name if name.ends_with("_by") => Some(|id| AccountId::from(id).to_string()),
        "application_id" => Some(|id| ApplicationId::from(id).to_string()),
        "grant_id" => Some(|id| GrantId::from(id).to_string()),
        "model_id" => Some(|id| ModelId::from(id).to_string()),
        "made_with" => Some(|id| TokenId::from(id).to_string()),
        "release_id" => Some(|id| ReleaseId::from(id).to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_printed_and_texts_are_left_alone() {
        let id = "01980000-0000-7000-8000-000000000000";
        let mut row = json!({ "id": id, "decided_by": id, "name": id, "thread": [{ "id": id, "body": "x" }], "n": 1 });
        printed(&mut row, |id| ApplicationId::from(id).to_string());
        let begins = |value: &Value, with: &str| value.as_str().is_some_and(|text| text.starts_with(with));
        assert!(begins(&row["id"], "app_") && begins(&row["decided_by"], "acct_") && begins(&row["thread"][0]["id"], "cmt_"), "{row}");
        assert_eq!(row["name"], id);
    }
}
