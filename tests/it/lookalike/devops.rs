//! Azure DevOps: one variable group, which is read and written whole.
//! <https://learn.microsoft.com/rest/api/azure/devops/distributedtask/variablegroups>

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Api, Asked};

/// The group 7 of the project `app`. Secret variables are told without their value; one that comes without a value keeps it.
pub struct VariableGroup {
    name: String,
    /// Values and whether they are secret.
    variables: BTreeMap<String, (String, bool)>,
    linked: bool,
}

impl VariableGroup {
    pub fn new(name: &str) -> Self {
        let variables = [("PLAIN", "kept", false), ("HIDDEN", "kept secret", true)];
        let variables = variables.map(|(name, value, secret)| (name.to_owned(), (value.to_owned(), secret)));
        Self { name: name.to_owned(), variables: variables.into(), linked: false }
    }

    fn shown(&self) -> Value {
        let variable = |(name, (value, secret)): (&String, &(String, bool))| {
            let shown = if *secret { json!({ "value": null, "isSecret": true }) } else { json!({ "value": value }) };
            (name.clone(), shown)
        };
        let variables: serde_json::Map<_, _> = self.variables.iter().map(variable).collect();
        json!({
            "id": 7, "name": "shared", "type": if self.linked { "AzureKeyVault" } else { "Vsts" },
            "variables": variables, "isShared": false,
            "variableGroupProjectReferences": [{ "name": "shared", "projectReference": { "id": "1", "name": "app" } }],
        })
    }
}

impl Api for VariableGroup {
    fn answer(&mut self, asked: &Asked) -> Answer {
        assert_eq!(asked.query["api-version"], "7.1");
        // The token, with nobody's name.
        if asked.headers["authorization"] != "Basic OnZhdWx0LXdyaXRlcg==" {
            return (401, json!({ "message": "TF400813: The user is not authorized." }));
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/example/app/_apis/distributedtask/variablegroups/7") => (200, self.shown()),
            ("PUT", "/example/_apis/distributedtask/variablegroups/7") => {
                if asked.body["variableGroupProjectReferences"] != self.shown()["variableGroupProjectReferences"] {
                    return (400, json!({ "message": "variableGroupProjectReferences" }));
                }
                let sent = asked.body["variables"].as_object().unwrap();
                let variables = sent.iter().map(|(name, sent)| {
                    let known = self.variables.get(name).map(|(value, _)| value.clone());
                    let value = sent["value"].as_str().map(str::to_owned).or(known).unwrap_or_default();
                    (name.clone(), (value, sent["isSecret"] == true))
                });
                // What is not sent is gone.
                self.variables = variables.collect();
                (200, self.shown())
            }
            _ => (404, json!({ "message": "not found" })),
        }
    }

    fn value(&self) -> Option<String> {
        self.variables.get(&self.name).map(|(value, _)| value.clone())
    }

    fn intrude(&mut self, value: &str) {
        self.variables.insert(self.name.clone(), (value.to_owned(), true));
    }

    fn neighbours(&self) -> Option<String> {
        let others = self.variables.iter().filter(|(name, _)| **name != self.name);
        Some(format!("{:?}", others.collect::<Vec<_>>()))
    }

    fn race(&mut self) -> bool {
        self.variables.insert("THEIRS".to_owned(), ("written at the last moment".to_owned(), false));
        true
    }

    fn misplace(&mut self) -> bool {
        self.linked = true;
        true
    }
}
