//! As much of GraphQL as the Point One API needs: one operation per document, fields with arguments and selections.

use std::iter::Peekable;
use std::str::CharIndices;

use serde_json::Value;

/// What a document asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationKind {
    Query,
    Mutation,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    pub kind: OperationKind,
    /// What the client calls the operation.
    pub name: Option<String>,
    pub variables: Vec<VariableDefinition>,
    pub fields: Vec<Field>,
}

/// `$name: Type! = default`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct VariableDefinition {
    pub name: String,
    /// The type ends in `!`.
    pub required: bool,
    pub default: Option<Value>,
}

/// `alias: name(arguments) { selection }`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub alias: Option<String>,
    pub name: String,
    pub arguments: Vec<(String, Argument)>,
    pub selection: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    Variable(String),
    /// A literal; the member of an enum is a string here.
    Literal(Value),
}

impl Field {
    /// The key of the answer.
    pub(super) fn key(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }
}

/// Reads a document with one operation, or tells in one sentence what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Document, String> {
    let mut parser = Parser { tokens: lex(text)?.into_iter().peekable(), depth: 0 };
    let document = parser.document()?;
    match parser.tokens.next() {
        None => Ok(document),
        Some(token) => Err(format!("Syntax Error: Unexpected {token:?}.")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Mark(char),
    Name(String),
    Value(Value),
}

fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c.is_whitespace() || matches!(c, ',' | '\u{feff}') => {}
            '#' => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            '{' | '}' | '(' | ')' | ':' | '!' | '$' | '=' | '[' | ']' => tokens.push(Token::Mark(c)),
            '"' => tokens.push(Token::Value(Value::String(quoted(&mut chars)?))),
            c if c == '_' || c.is_ascii_alphabetic() => {
                let end = run(&mut chars, |c| c == '_' || c.is_ascii_alphanumeric()).unwrap_or(at + 1);
                tokens.push(Token::Name(text[at..end].to_owned()));
            }
            c if c == '-' || c.is_ascii_digit() => {
                let end = run(&mut chars, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
                let number = &text[at..end.unwrap_or(at + 1)];
                let value = number.parse().map_err(|_| format!("Syntax Error: Invalid number: {number:?}."))?;
                tokens.push(Token::Value(Value::Number(value)));
            }
            other => return Err(format!("Syntax Error: Unexpected character: {other:?}.")),
        }
    }
    Ok(tokens)
}

/// Where the characters end that `belongs` holds for; `None` if it holds for not even one more.
fn run(chars: &mut Peekable<CharIndices<'_>>, belongs: impl Fn(char) -> bool) -> Option<usize> {
    let mut end = None;
    while let Some((at, _)) = chars.next_if(|(_, c)| belongs(*c)) {
        end = Some(at + 1);
    }
    end
}

fn quoted(chars: &mut Peekable<CharIndices<'_>>) -> Result<String, String> {
    let mut text = String::new();
    while let Some((_, c)) = chars.next() {
        match c {
            '"' => return Ok(text),
            '\n' => break,
            '\\' => match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, c @ ('"' | '\\' | '/'))) => text.push(c),
                _ => return Err("Syntax Error: Invalid character escape sequence.".to_owned()),
            },
            c => text.push(c),
        }
    }
    Err("Syntax Error: Unterminated string.".to_owned())
}

/// Deeper selections than any that this API has are refused, so that no request can exhaust the stack.
const DEEPEST: usize = 16;

struct Parser {
    tokens: Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
}

impl Parser {
    fn document(&mut self) -> Result<Document, String> {
        if self.tokens.peek() == Some(&Token::Mark('{')) {
            return Ok(Document {
                kind: OperationKind::Query,
                name: None,
                variables: Vec::new(),
                fields: self.selection()?,
            });
        }
        let kind = match self.name()?.as_str() {
            "query" => OperationKind::Query,
            "mutation" => OperationKind::Mutation,
            other => return Err(format!("Syntax Error: Unexpected Name {other:?}.")),
        };
        let named = matches!(self.tokens.peek(), Some(Token::Name(_)));
        let name = if named { Some(self.name()?) } else { None };
        let mut variables = Vec::new();
        if self.take('(') {
            while !self.take(')') {
                variables.push(self.variable_definition()?);
            }
        }
        Ok(Document { kind, name, variables, fields: self.selection()? })
    }

    fn variable_definition(&mut self) -> Result<VariableDefinition, String> {
        self.expect('$')?;
        let name = self.name()?;
        self.expect(':')?;
        let listed = self.take('[');
        self.name()?;
        let mut required = self.take('!');
        if listed {
            self.expect(']')?;
            required = self.take('!');
        }
        let default = if self.take('=') {
            match self.argument()? {
                Argument::Literal(value) => Some(value),
                Argument::Variable(_) => return Err("Syntax Error: Unexpected variable in constant value.".into()),
            }
        } else {
            None
        };
        Ok(VariableDefinition { name, required, default })
    }

    fn selection(&mut self) -> Result<Vec<Field>, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("Syntax Error: Too deeply nested.".to_owned());
        }
        self.expect('{')?;
        let mut fields = Vec::new();
        while !self.take('}') {
            fields.push(self.field()?);
        }
        self.depth -= 1;
        if fields.is_empty() { Err("Syntax Error: Expected Name, found \"}\".".to_owned()) } else { Ok(fields) }
    }

    fn field(&mut self) -> Result<Field, String> {
        let mut name = self.name()?;
        let mut alias = None;
        if self.take(':') {
            alias = Some(std::mem::replace(&mut name, self.name()?));
        }
        let mut arguments = Vec::new();
        if self.take('(') {
            while !self.take(')') {
                let argument = self.name()?;
                self.expect(':')?;
                arguments.push((argument, self.argument()?));
            }
        }
        let selection = if self.tokens.peek() == Some(&Token::Mark('{')) { self.selection()? } else { Vec::new() };
        Ok(Field { alias, name, arguments, selection })
    }

    fn argument(&mut self) -> Result<Argument, String> {
        match self.tokens.next() {
            Some(Token::Mark('$')) => Ok(Argument::Variable(self.name()?)),
            Some(Token::Value(value)) => Ok(Argument::Literal(value)),
            Some(Token::Name(name)) => Ok(Argument::Literal(match name.as_str() {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => Value::String(name),
            })),
            other => Err(unexpected(other)),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.tokens.next() {
            Some(Token::Name(name)) => Ok(name),
            other => Err(unexpected(other)),
        }
    }

    fn take(&mut self, mark: char) -> bool {
        self.tokens.next_if_eq(&Token::Mark(mark)).is_some()
    }

    fn expect(&mut self, mark: char) -> Result<(), String> {
        match self.tokens.next() {
            Some(token) if token == Token::Mark(mark) => Ok(()),
            other => Err(unexpected(other)),
        }
    }
}

fn unexpected(token: Option<Token>) -> String {
    match token {
        None => "Syntax Error: Unexpected <EOF>.".to_owned(),
        Some(token) => format!("Syntax Error: Unexpected {token:?}."),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mutation_with_variables_is_read() {
        let text = "mutation Mint($n: String!, $d: Int! = 365) { # successor\n
                    token: createPersonalAccessToken(name: $n, role: ROLE_READ_WRITE, expiryInDays: $d) }";
        let document = parse(text).unwrap();
        assert_eq!((document.kind, document.name.as_deref()), (OperationKind::Mutation, Some("Mint")));
        let [name, days] = &document.variables[..] else { panic!("{document:?}") };
        assert_eq!((name.name.as_str(), name.required, &name.default), ("n", true, &None));
        assert_eq!((days.name.as_str(), &days.default), ("d", &Some(json!(365))));
        let [field] = &document.fields[..] else { panic!("{document:?}") };
        assert_eq!((field.key(), field.name.as_str()), ("token", "createPersonalAccessToken"));
        assert_eq!(field.arguments[1], ("role".into(), Argument::Literal(json!("ROLE_READ_WRITE"))));
        assert_eq!(field.arguments[2], ("expiryInDays".into(), Argument::Variable("d".into())));
    }

    #[test]
    fn literals_and_short_queries_are_read() {
        let document = parse(r#"{ a(x: "q\"\\", y: -3, z: null, t: true) { b c } }"#).unwrap();
        let field = &document.fields[0];
        let values: Vec<_> = field.arguments.iter().map(|(_, value)| value.clone()).collect();
        let expected = [json!("q\"\\"), json!(-3), json!(null), json!(true)].map(Argument::Literal);
        assert_eq!(values, expected);
        assert_eq!(field.selection.iter().map(Field::key).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn what_is_not_a_document_is_refused() {
        let deep = "{a".repeat(100_000);
        for text in ["", "{", "{}", "query", "{ a(x:) }", "{ a } }", "{ \"a }", "subscription { a }", "{ é }", &deep] {
            assert!(parse(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
    }
}
