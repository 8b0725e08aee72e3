//! The values that a program gets: read from files, as any consumer reads them.

use std::path::PathBuf;

use crate::files;
use crate::inventory::Format;
use crate::secret::{Secret, source};
use crate::store::format::{self, Read};

/// Larger files are refused.
const LARGEST: usize = 1 << 20;

/// A value of the program.
#[derive(Clone, Debug)]
pub struct Value {
    /// The environment variable that has it, or the path to it.
    pub variable: String,
    pub place: Place,
    pub passing: Passing,
}

/// Where a value is.
#[derive(Clone, Debug)]
pub struct Place {
    pub path: PathBuf,
    pub format: Format,
}

/// How the program gets a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// The variable has it.
    Variable,
    /// The variable has the path of a file in memory that holds it: what lists environments does not show it.
    Memory,
}

/// The secrets of all values, in their order.
#[derive(Clone, Debug)]
pub struct Secrets(pub Vec<Secret>);

impl Secrets {
    /// Reads all of them. Where some cannot be read, why, a line each.
    pub async fn read(values: &[Value]) -> Result<Self, Vec<String>> {
        let (mut secrets, mut missing) = (Vec::new(), Vec::new());
        for value in values {
            match read(&value.place).await {
                Ok(secret) => secrets.push(secret),
                Err(why) => missing.push(format!("{}: {} {why}", value.variable, value.place.path.display())),
            }
        }
        if missing.is_empty() { Ok(Self(secrets)) } else { Err(missing) }
    }

    /// The variables whose values differ from those of `other`.
    pub fn differing<'v>(&self, other: &Self, values: &'v [Value]) -> Vec<&'v str> {
        let pairs = self.0.iter().zip(&other.0);
        let differ = pairs.map(|(one, other)| one.expose() != other.expose());
        values.iter().zip(differ).filter(|(_, differ)| *differ).map(|(value, _)| value.variable.as_str()).collect()
    }
}

async fn read(place: &Place) -> Result<Secret, String> {
    let content = files::read_off_runtime(&place.path, LARGEST).await.map_err(|error| error.to_string())?;
    match format::get(&content, &place.format).map_err(|problem| problem.to_string())? {
        Read::Value(value) => source::parse(&value).map_err(str::to_owned),
        Read::Missing => Err("does not hold it yet".to_owned()),
        Read::Disputed => Err("holds it in a way that its readers understand differently".to_owned()),
    }
}
