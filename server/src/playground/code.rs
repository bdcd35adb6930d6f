//! "View code": the form as the same request by program. The page's script fills the same templates while one types.

use serde_json::{Map, Value, json};

use super::form::PlaygroundForm;

/// Where the request's body goes in a template.
const BODY: &str = "BODY";

/// The program texts without the request: `{base}` is where the portal is.
pub(super) struct Templates {
    pub(super) curl: String,
    pub(super) python: String,
}

/// The templates of this portal. The token's variable is the one that the download tools read, so that one `export` serves all.
pub(super) fn templates(base: &str) -> Templates {
    Templates {
        curl: format!(
            "curl {base}/v1/completions \\\n  -H \"Authorization: Bearer $HF_TOKEN\" \\\n  -H \"Content-Type: application/json\" \\\n  -d '{BODY}'"
        ),
        python: format!(
            "import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url=\"{base}/v1\", api_key=os.environ[\"HF_TOKEN\"])\n\
             completion = client.completions.create(\n{BODY})\nprint(completion.choices[0].text)"
        ),
    }
}

impl Templates {
    /// The form for curl.
    pub(super) fn curl_of(&self, form: &PlaygroundForm) -> String {
        let body = serde_json::to_string_pretty(&body(form)).unwrap_or_default();
        self.curl.replace(BODY, &body.replace('\'', r"'\''"))
    }

    /// The form for the `openai` package, which takes fields it does not know in `extra_body`.
    pub(super) fn python_of(&self, form: &PlaygroundForm) -> String {
        let arguments: String = body(form)
            .iter()
            .map(|(field, value)| match field.as_str() {
                "top_k" => format!("    extra_body={{\"top_k\": {value}}},\n"),
                _ => format!("    {field}={value},\n"),
            })
            .collect();
        self.python.replace(BODY, &arguments)
    }
}

/// The form as a request's body; fields that cannot be read are left out.
fn body(form: &PlaygroundForm) -> Map<String, Value> {
    let settings = form.settings(&mut Vec::new());
    let fields = [
        ("model", json!(form.model)),
        ("prompt", json!(form.text)),
        ("max_tokens", json!(settings.max_tokens)),
        ("temperature", json!(settings.temperature)),
        ("top_p", json!(settings.top_p)),
        ("top_k", json!(settings.top_k)),
        ("seed", json!(settings.seed)),
        ("stop", if settings.stop.is_empty() { Value::Null } else { json!(settings.stop) }),
    ];
    fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(field, value)| (field.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_quotes_stays_one_argument() {
        let form = PlaygroundForm { model: "a/b".into(), text: "It's \"so\"\n".into(), top_k: "5".into(), ..PlaygroundForm::default() };
        let templates = templates("https://weights.example.org");
        assert!(templates.curl_of(&form).contains(r#""prompt": "It'\''s \"so\"\n""#));
        let python = templates.python_of(&form);
        assert!(python.contains(r#"prompt="It's \"so\"\n","#) && python.contains("extra_body={\"top_k\": 5},"), "{python}");
        assert!(!python.contains("seed="));
    }
}
