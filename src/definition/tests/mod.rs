//! Files of definitions: the shipped ones are sound, faults have places, and the page for authors is true.

mod authors;
mod bonds;
mod files;
mod lineage;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::clock::Span;
use crate::provider::tests::{Given, answer, now, provider, told};
use crate::provider::{Checked, OnTimeout, Operation, Provider, Response, Role, Verdict};
