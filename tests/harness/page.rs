//! What a person got to see.

/// An answer of the portal.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: bytes::Bytes,
    pub text: String,
}

impl Page {
    /// What came back.
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { status, headers, bytes, text }
    }

    /// The header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Where a redirect leads.
    pub fn location(&self) -> &str {
        self.header("location")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|cause| panic!("{cause}: {}", self.text))
    }

    /// Panics unless the page says `words`.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        assert!(self.text.contains(words), "the page ({}) does not say {words:?}:\n{}", self.status, self.text);
        self
    }

    /// The value of the hidden form token, if the page has a form.
    pub(crate) fn csrf(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"")?;
        rest.split_once('"').map(|(token, _)| token)
    }
}
