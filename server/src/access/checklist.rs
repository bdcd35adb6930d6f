//! What a reviewer makes sure of before deciding. Ticks are kept with the case, so that whoever takes it over goes on where another stopped.

/// One point.
#[derive(Debug)]
pub(super) struct Point {
    /// As it is stored and posted.
    pub(super) name: &'static str,
    /// What is made sure of.
    pub(super) wording: &'static str,
}

/// Every point, in the order of the page.
pub(super) const POINTS: &[Point] = &[
    Point { name: "identity", wording: "The applicant is who they say they are, and can be reached at this address." },
    Point { name: "purpose", wording: "The question and the method are clear, and this model is needed." },
    Point { name: "licence", wording: "The use is non-commercial research, and not prohibited by the licence." },
    Point { name: "safeguards", wording: "Storage and access are described, and sufficient." },
];

/// The points among what was posted.
pub(super) fn ticked(posted: &[(String, String)]) -> Vec<String> {
    let is_posted = |point: &&Point| posted.iter().any(|(name, value)| name == point.name && value == "on");
    POINTS.iter().filter(is_posted).map(|point| point.name.to_owned()).collect()
}
