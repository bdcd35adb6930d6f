//! People and their gestures, through public pages.

use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};

use crate::Page;

/// Somebody at a browser, or at a terminal with a token. Redirects are seen, not followed.
#[derive(Clone)]
pub struct Person {
    pub email: String,
    base: String,
    browser: Client,
    token: Option<String>,
}

impl Person {
    /// What everybody in the tests chooses.
    pub const PASSWORD: &str = "correct horse battery staple";

    /// Somebody with an empty browser.
    pub fn new(base: &str, email: &str) -> Self {
        crate::choose_tls();
        // Who is not answered says what was asked, and does not stand there until the test is ended.
        let patience = std::time::Duration::from_secs(60);
        let browser = Client::builder().cookie_store(true).redirect(Policy::none()).read_timeout(patience).build().unwrap();
        Self { email: email.to_owned(), base: base.to_owned(), browser, token: None }
    }

    /// The same person at a terminal: no cookies, this token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::new(&self.base, &self.email) }
    }

    /// A request of this person, to be refined.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.browser.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Opens a page as a browser does.
    pub async fn get(&self, path: &str) -> Page {
        Page::of(self.request(Method::GET, path).header("accept", "text/html").send().await.unwrap()).await
    }

    /// Fetches what a program would.
    pub async fn fetch(&self, path: &str) -> Page {
        Page::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    /// Sends a form as one of the portal's own pages does.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.csrf().await;
        let mut fields = fields.to_vec();
        fields.push(("csrf", &token));
        Page::of(self.request(Method::POST, path).header("accept", "text/html").form(&fields).send().await.unwrap()).await
    }

    /// The form token of this browser.
    pub async fn csrf(&self) -> String {
        let page = self.get("/sign-in").await;
        page.csrf().unwrap_or_else(|| panic!("the sign-in page has no form: {}", page.text)).to_owned()
    }

    /// Signs in with the password everybody has.
    pub async fn signs_in(&self) -> Page {
        self.post("/sign-in", &[("email", &self.email), ("password", Self::PASSWORD)]).await
    }

    /// Makes an access token on the account's page and returns it.
    pub async fn makes_token(&self, scopes: &[&str]) -> String {
        let mut fields = vec![("name", "laptop"), ("days", "30")];
        fields.extend(scopes.iter().map(|scope| (*scope, "on")));
        let page = self.post("/account/tokens", &fields).await;
        let start = page.says("slc_").text.find("slc_").unwrap();
        page.text[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    }
}
