//! The body of `POST /v1/completions`, parsed.

use inference::{Prompt, Request};
use serde_json::Value;

use super::super::prompt::Settings;
use super::fields::Fields;
use crate::error::{Error, FieldError};

/// The most choices for one prompt.
const CHOICES_MAX: i64 = 4;
/// The most candidates from which `best_of` chooses.
const CANDIDATES_MAX: i64 = 8;
/// The most sequences one request may ask for, over all its prompts.
const SEQUENCES_MAX: usize = 128;
/// What is continued when no prompt is given: a new document begins.
const NEW_DOCUMENT: u32 = 2;

/// What a program asks for.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) prompts: Vec<Prompt>,
    pub(super) settings: Settings,
    /// Choices to give for each prompt.
    pub(super) n: usize,
    /// Candidates to make for each prompt; as many as `n` unless asked for more.
    pub(super) best_of: usize,
    pub(super) stream: bool,
    /// Whether a stream ends with a chunk of usage.
    pub(super) include_usage: bool,
    /// Fields that were sent and mean nothing here.
    pub(super) ignored: Vec<String>,
}

impl Ask {
    /// Reads a body. Errors: `Invalid` with every fault of shape; bounds are the business of [`Settings::request`].
    pub(super) fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields::parse(body)?;
        let model = fields.text("model");
        let prompts = prompts(&mut fields);
        let n = fields.whole("n").unwrap_or(1);
        // 0 is allowed by the contract, and says as little as nothing.
        let best_of = fields.whole("best_of").filter(|best_of| *best_of != 0).unwrap_or(n);
        let stream = fields.flag("stream");
        if model.is_none() {
            fields.fault("model", "is the model's name, such as \"org/name\"; GET /v1/models lists yours");
        }
        if !(1..=CHOICES_MAX).contains(&n) {
            fields.fault("n", format!("is 1 to {CHOICES_MAX} here"));
        }
        if !(n..=CANDIDATES_MAX).contains(&best_of) {
            fields.fault("best_of", format!("is at least n and at most {CANDIDATES_MAX} here; 0 or leaving it out means n"));
        }
        if stream && best_of > n {
            fields.fault("best_of", "cannot be streamed: the best is known at the end only");
        }
        if fields.text("suffix").is_some_and(|suffix| !suffix.is_empty()) {
            fields.fault("suffix", "cannot be honoured: these models continue a text, they do not fill in");
        }
        let include_usage = stream_options(&mut fields);
        let settings = settings(&mut fields);
        // Accepted and of no effect: it names the program's own user.
        fields.take("user");
        let ignored = fields.finish()?;
        let sequences = prompts.len() * usize::try_from(best_of).unwrap_or(1);
        if sequences > SEQUENCES_MAX {
            return Err(FieldError::new("prompt", format!("asks for {sequences} texts at once; at most {SEQUENCES_MAX}")).into());
        }
        Ok(Self {
            model: model.unwrap_or_default(),
            prompts,
            settings,
            n: usize::try_from(n).unwrap_or(1),
            best_of: usize::try_from(best_of).unwrap_or(1),
            stream,
            include_usage,
            ignored,
        })
    }

    /// One request for each prompt, in order.
    pub(super) fn requests(&self) -> Result<Vec<Request>, Error> {
        let mut requests = Vec::with_capacity(self.prompts.len());
        let mut settings = self.settings.clone();
        if self.best_of > self.n && settings.logprobs.is_none() {
            // The best is the one with the highest mean log-probability.
            settings.logprobs = Some(0);
        }
        for prompt in &self.prompts {
            let request = settings.request(prompt.clone())?;
            // Drawn once, if at all: the prompts of one body repeat together.
            settings.seed = Some(request.sampling.seed.cast_signed());
            requests.push(request);
        }
        Ok(requests)
    }

    /// The most tokens to make, where the program said so; the default gives way to a full context.
    pub(super) fn asked_tokens(&self) -> Option<usize> {
        self.settings.max_tokens.and_then(|tokens| usize::try_from(tokens).ok())
    }
}

fn prompts(fields: &mut Fields) -> Vec<Prompt> {
    const SHAPES: &str = "is a text, a list of texts, a list of token ids, or a list of lists of token ids; none of them empty";
    let Some(value) = fields.take("prompt") else {
        return vec![Prompt::Ids(vec![NEW_DOCUMENT])];
    };
    let prompts = match &value {
        Value::String(text) => Some(vec![Prompt::Text(text.clone())]),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().map(|text| text.as_str().map(|text| Prompt::Text(text.to_owned()))).collect()
        }
        Value::Array(list) if list.iter().all(Value::is_number) => ids(list).map(|ids| vec![Prompt::Ids(ids)]),
        Value::Array(list) => list.iter().map(|inner| inner.as_array().and_then(|inner| ids(inner)).map(Prompt::Ids)).collect(),
        _ => None,
    };
    match prompts {
        Some(prompts) if !prompts.is_empty() && prompts.iter().all(|prompt| *prompt != Prompt::Ids(vec![])) => prompts,
        _ => {
            fields.fault("prompt", SHAPES);
            Vec::new()
        }
    }
}

fn ids(list: &[Value]) -> Option<Vec<u32>> {
    list.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect()
}

fn stream_options(fields: &mut Fields) -> bool {
    match fields.take("stream_options") {
        None => false,
        Some(Value::Object(options)) => options.get("include_usage").and_then(Value::as_bool).unwrap_or(false),
        Some(_) => {
            fields.fault("stream_options", "is an object, such as {\"include_usage\": true}");
            false
        }
    }
}

fn settings(fields: &mut Fields) -> Settings {
    Settings {
        max_tokens: fields.whole("max_tokens"),
        min_tokens: fields.whole("min_tokens"),
        temperature: fields.number("temperature"),
        top_p: fields.number("top_p"),
        top_k: fields.whole("top_k"),
        min_p: fields.number("min_p"),
        typical_p: fields.number("typical_p"),
        seed: fields.whole("seed"),
        stop: stops(fields),
        stop_token_ids: stop_token_ids(fields),
        presence_penalty: fields.number("presence_penalty"),
        frequency_penalty: fields.number("frequency_penalty"),
        repetition_penalty: fields.number("repetition_penalty"),
        logit_bias: logit_bias(fields),
        ignore_eos: fields.flag("ignore_eos"),
        logprobs: fields.whole("logprobs"),
        echo: fields.flag("echo"),
    }
}

fn stops(fields: &mut Fields) -> Vec<String> {
    let stops = match fields.take("stop") {
        None => Some(Vec::new()),
        Some(Value::String(stop)) => Some(vec![stop]),
        Some(Value::Array(list)) => list.iter().map(|stop| stop.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    stops.unwrap_or_else(|| {
        fields.fault("stop", "is a text or a list of texts");
        Vec::new()
    })
}

fn stop_token_ids(fields: &mut Fields) -> Vec<u32> {
    let found = match fields.take("stop_token_ids") {
        None => Some(Vec::new()),
        Some(Value::Array(list)) => ids(&list),
        Some(_) => None,
    };
    found.unwrap_or_else(|| {
        fields.fault("stop_token_ids", "is a list of token ids");
        Vec::new()
    })
}

fn logit_bias(fields: &mut Fields) -> Vec<(u32, f64)> {
    let biases = match fields.take("logit_bias") {
        None => Some(Vec::new()),
        Some(Value::Object(map)) => map.iter().map(|(id, bias)| Some((id.parse().ok()?, bias.as_f64()?))).collect(),
        Some(_) => None,
    };
    biases.unwrap_or_else(|| {
        fields.fault("logit_bias", "is an object of token ids and numbers, such as {\"50256\": -100}");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(body: &Value) -> Result<Ask, Error> {
        Ask::parse(body.to_string().as_bytes())
    }

    fn faulty_fields(body: &Value) -> Vec<String> {
        match ask(body) {
            Err(Error::Invalid(faults)) => faults.into_iter().map(|fault| fault.field.into_owned()).collect(),
            other => panic!("expected faults, got {other:?}"),
        }
    }

    #[test]
    fn a_prompt_comes_in_four_shapes() {
        let text = |text: &str| Prompt::Text(text.into());
        for (prompt, expected) in [
            (json!("Once"), vec![text("Once")]),
            (json!(""), vec![text("")]),
            (json!(["Once", "Twice"]), vec![text("Once"), text("Twice")]),
            (json!([2, 100]), vec![Prompt::Ids(vec![2, 100])]),
            (json!([[2, 100], [2]]), vec![Prompt::Ids(vec![2, 100]), Prompt::Ids(vec![2])]),
            (json!(null), vec![Prompt::Ids(vec![2])]),
        ] {
            assert_eq!(ask(&json!({ "model": "a/b", "prompt": prompt })).expect("a shape of the contract").prompts, expected);
        }
        assert_eq!(ask(&json!({ "model": "a/b" })).expect("absent").prompts, [Prompt::Ids(vec![2])]);
    }

    #[test]
    fn other_shapes_are_refused() {
        for prompt in [
            json!([]),
            json!([[]]),
            json!([[2], []]),
            json!(["a", 1]),
            json!([1, "a"]),
            json!([1.5]),
            json!([-1]),
            json!({}),
            json!(7),
            json!([[["a"]]]),
        ] {
            assert_eq!(faulty_fields(&json!({ "model": "a/b", "prompt": prompt })), ["prompt"], "{prompt}");
        }
    }

    #[test]
    fn null_is_the_default_everywhere() {
        let nulls = json!({
            "model": "a/b", "prompt": "x", "max_tokens": null, "temperature": null, "top_p": null, "n": null, "best_of": null, "stream": null,
            "stream_options": null, "logprobs": null, "echo": null, "stop": null, "presence_penalty": null, "frequency_penalty": null,
            "logit_bias": null, "user": null, "seed": null, "suffix": null, "top_k": null, "ignore_eos": null,
            "min_p": null, "typical_p": null, "repetition_penalty": null, "min_tokens": null, "stop_token_ids": null,
        });
        let ask = ask(&nulls).expect("nulls are allowed");
        assert_eq!(ask.settings, Settings::default());
        assert_eq!((ask.n, ask.best_of, ask.stream, ask.include_usage), (1, 1, false, false));
        assert!(ask.ignored.is_empty());
    }

    #[test]
    fn unknown_fields_are_remembered_and_faults_told_together() {
        let known = ask(&json!({ "model": "a/b", "prompt": "x", "top_n": 0.1, "frobnicate": true })).expect("unknown fields are ignored");
        assert_eq!(known.ignored, ["frobnicate", "top_n"]);
        let fields = faulty_fields(
            &json!({ "prompt": 1, "temperature": "hot", "stream": 1, "suffix": "end", "n": 5, "stop": [1], "logit_bias": {"a": 1} }),
        );
        for field in ["model", "prompt", "temperature", "stream", "suffix", "n", "stop", "logit_bias"] {
            assert!(fields.iter().any(|f| f == field), "{field} passed: {fields:?}");
        }
        assert_eq!(faulty_fields(&json!([1])), ["body"]);
    }

    #[test]
    fn the_prompts_of_one_body_share_the_seed() {
        let ask = ask(&json!({ "model": "a/b", "prompt": ["x", "y"], "n": 2, "best_of": 3, "seed": 7 })).expect("valid");
        let requests = ask.requests().expect("valid");
        assert_eq!(requests.iter().map(|request| request.sampling.seed).collect::<Vec<u64>>(), [7, 7]);
        assert_eq!(requests[0].logprobs, Some(0), "best_of needs them to choose");
    }

    #[test]
    fn best_of_is_at_least_n_and_never_streamed() {
        assert_eq!(faulty_fields(&json!({ "model": "a/b", "prompt": "x", "n": 3, "best_of": 2 })), ["best_of"]);
        assert_eq!(faulty_fields(&json!({ "model": "a/b", "prompt": "x", "best_of": 2, "stream": true })), ["best_of"]);
        let zero = ask(&json!({ "model": "a/b", "prompt": "x", "n": 2, "best_of": 0, "stream": true })).expect("0 means n");
        assert_eq!((zero.n, zero.best_of), (2, 2));
        let Err(Error::Invalid(faults)) = ask(&json!({ "model": "a/b", "prompt": "x", "n": 5, "best_of": 20 })) else {
            panic!("both are too many")
        };
        assert!(faults.iter().any(|fault| fault.field == "n" && fault.message.contains("1 to 4")), "{faults:?}");
        assert!(faults.iter().any(|fault| fault.field == "best_of" && fault.message.contains("at most 8")), "{faults:?}");
    }
}
