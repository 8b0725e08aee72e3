//! What many targets of a store hold, by one request: which item of its answer is which target.

use super::extract::Content;
use super::request::{Scoped, parameter};
use super::resolved::Provider;
use super::slots::{Seen, items, seen};
use super::{Cursor, Operation, Params, Received, Response, Values};
use crate::outcome::{Failure, FailureCode, Outcome, Told};

/// One page of a survey.
#[derive(Debug)]
pub struct Page {
    /// What each target holds, by the values of the parameters that name it.
    pub items: Vec<(Vec<String>, Seen)>,
    pub next: Option<Cursor>,
}

impl Told for Page {}

impl Provider {
    /// The values by which a survey names the target of `params`; `None`: the definition has no survey.
    pub fn survey_name(&self, params: &Params) -> Option<Vec<String>> {
        let call = self.call(Operation::Survey).ok()?;
        Some(call.slots.names.iter().map(|(name, _)| parameter(self, params, name).to_string()).collect())
    }

    /// What a page of the answer says.
    pub fn read_survey(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Page> {
        let content = response.content();
        if let Err(setback) = self.judge(Operation::Survey, values, response, &content, received.into()) {
            return setback.outcome(Operation::Survey);
        }
        match self.page(values, response, content.json()) {
            Ok(page) => Outcome::Done(page),
            Err(why) => Outcome::later(Failure::new(FailureCode::NotUnderstood, why)),
        }
    }

    fn page(&self, values: &Values<'_>, response: &Response, body: &serde_json::Value) -> Result<Page, String> {
        let call = self.call(Operation::Survey).map_err(|failure| failure.to_string())?;
        let listing = call.slots.finds.as_ref().ok_or("the survey lists nothing")?;
        let scope = Scoped::new(self, call, values);
        let all = items(listing, body)?;
        let mut found = Vec::new();
        for item in all.iter().filter(|item| listing.keep.iter().all(|predicate| predicate.holds(item, &scope))) {
            let content = Content { body: item, headers: &response.headers };
            let names = call.slots.names.iter().map(|(_, place)| content.text(place)).collect::<Option<Vec<_>>>();
            // An item that has no name is none that anybody asks for.
            if let Some(names) = names {
                found.push((names, seen(call, false, false, content)?));
            }
        }
        let next = self.next(call, listing, values, response, body, all.len())?;
        Ok(Page { items: found, next })
    }
}
