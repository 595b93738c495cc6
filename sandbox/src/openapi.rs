//! Discord's published description of its HTTP API, and what it refuses.
//!
//! A request is refused as Discord refuses it: status 404 or 405 for a route that does not
//! exist, and error 50035 with the path of each fault for parameters and a body that do not fit.
//! The description itself allows unknown fields nearly everywhere; here a misspelt field is a
//! fault, because Discord would silently ignore it.

mod commands;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::{LazyLock, OnceLock},
};

use jsonschema::{
    JsonType, Registry, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
    paths::{Location, LocationSegment},
};
use serde_json::{Map, Value, json};

/// Where the schemas stand in the registry; nothing is ever fetched from there.
const BASE: &str = "discord:/openapi";

/// What serenity adds beyond a route's own fields without meaning anything by it.
static NEUTRAL: LazyLock<Value> = LazyLock::new(|| json!([null, [], {}, false, ""]));

/// Why a request is refused before anything is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// No route has this path.
    UnknownRoute,
    /// The path exists, with other methods.
    WrongMethod,
    /// Error 50035: the whole JSON body of the answer, with `errors` nested along the fields.
    Invalid(Value),
}

impl Fault {
    /// The HTTP status Discord answers with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownRoute => 404,
            Self::WrongMethod => 405,
            Self::Invalid(_) => 400,
        }
    }

    /// The JSON body Discord answers with.
    #[must_use]
    pub fn body(&self) -> Value {
        match self {
            Self::UnknownRoute => json!({"message": "404: Not Found", "code": 0}),
            Self::WrongMethod => json!({"message": "405: Method Not Allowed", "code": 0}),
            Self::Invalid(body) => body.clone(),
        }
    }
}

/// The routes of Discord's HTTP API v10 with the schemas of their parameters and bodies.
pub struct Description {
    /// `{"components": {"schemas": ..}, "operations": [{"parameters": .., "body": ..}]}`
    schemas: &'static Value,
    registry: Registry<'static>,
    routes: Vec<Route>,
}

struct Route {
    path: Vec<Segment>,
    /// Upper-case method to operation.
    operations: BTreeMap<String, Operation>,
}

/// Literals order before parameters, so the least of the matching paths is the one meant.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Parameter(String),
}

struct Operation {
    /// Its place under `operations` in [`Description::schemas`].
    place: usize,
    compiled: OnceLock<Compiled>,
}

struct Compiled {
    parameters: Validator,
    body: Validator,
}

/// One line of a 50035: the fields that lead to the value, the code and the sentence.
struct Complaint {
    path: Vec<String>,
    code: &'static str,
    message: String,
}

impl Description {
    /// The description that is vendored in `sandbox/discord`, read once per process.
    ///
    /// # Panics
    ///
    /// When the vendored file is not what it was when it was vendored.
    #[must_use]
    pub fn discord() -> &'static Self {
        static DISCORD: LazyLock<Description> = LazyLock::new(|| {
            let document = serde_json::from_str(include_str!("../discord/openapi.json"))
                .expect("the vendored description is JSON");
            Description::read(document)
        });
        &DISCORD
    }

    fn read(mut document: Value) -> Self {
        let mut components = document["components"]["schemas"].take();
        amend(&mut components);
        let mut operations = Vec::new();
        let mut routes = Vec::new();
        let Value::Object(paths) = document["paths"].take() else {
            unreachable!("an OpenAPI description has paths")
        };
        for (path, mut item) in paths {
            let shared = item["parameters"].take();
            let mut route = Route { path: segments(&path), operations: BTreeMap::new() };
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                if method == "parameters" {
                    continue;
                }
                let place = operations.len();
                let parameters = parameters(&shared, &operation["parameters"]);
                operations.push(json!({"parameters": parameters, "body": body(operation)}));
                route
                    .operations
                    .insert(method.to_uppercase(), Operation { place, compiled: OnceLock::new() });
            }
            routes.push(route);
        }
        let mut schemas = json!({"components": {"schemas": components}, "operations": operations});
        close(&mut schemas);
        // Read once and kept to the end of the process: the registry can borrow it.
        let schemas: &'static Value = Box::leak(Box::new(schemas));
        let registry = Registry::new()
            .add(BASE, schemas)
            .and_then(jsonschema::RegistryBuilder::prepare)
            .expect("the vendored description refers to nothing outside itself");
        Self { schemas, registry, routes }
    }

    /// Refuses what Discord would refuse without looking at any state.
    ///
    /// `path` is what follows `/api/v10`, with real ids; of a multipart request `body` is the
    /// JSON in its `payload_json`. An absent body is an empty one. Unknown query parameters pass,
    /// as they do at Discord.
    ///
    /// # Errors
    ///
    /// The [`Fault`] to answer with.
    ///
    /// # Panics
    ///
    /// When the vendored description holds an invalid schema.
    pub fn check(
        &self,
        method: &str,
        path: &str,
        query: &[(String, String)],
        body: Option<&Value>,
    ) -> Result<(), Fault> {
        let path: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let route = self
            .routes
            .iter()
            .filter(|route| route.matches(&path))
            .min_by(|a, b| a.path.cmp(&b.path))
            .ok_or(Fault::UnknownRoute)?;
        let operation = route.operations.get(&method.to_uppercase()).ok_or(Fault::WrongMethod)?;
        let compiled = operation.compiled.get_or_init(|| self.compile(operation.place));

        let mut complaints = Vec::new();
        let schema = &self.schemas["operations"][operation.place]["parameters"];
        let given = self.given(schema, route, &path, query);
        for error in compiled.parameters.iter_errors(&given) {
            self.explain(&error, &mut complaints);
        }
        let body = body.map_or_else(|| Cow::Owned(json!({})), Cow::Borrowed);
        for error in compiled.body.iter_errors(&body) {
            self.explain(&error, &mut complaints);
        }
        if complaints.is_empty() && route.is_of_commands() {
            complaints = commands::complaints(&body);
        }
        if complaints.is_empty() { Ok(()) } else { Err(Fault::Invalid(invalid_form(complaints))) }
    }

    fn compile(&self, place: usize) -> Compiled {
        let validator = |part: &str| {
            jsonschema::options()
                .with_registry(&self.registry)
                .should_validate_formats(true)
                .build(&json!({"$ref": format!("{BASE}#/operations/{place}/{part}")}))
                .expect("the vendored description holds valid schemas")
        };
        Compiled { parameters: validator("parameters"), body: validator("body") }
    }

    /// The parameters of path and query as one object, in the types that the schema names.
    fn given(
        &self,
        schema: &Value,
        route: &Route,
        path: &[&str],
        query: &[(String, String)],
    ) -> Value {
        let properties = &schema["properties"];
        let mut given = Map::new();
        for (segment, value) in route.path.iter().zip(path) {
            if let Segment::Parameter(name) = segment {
                given.insert(name.clone(), self.typed(&properties[name], value));
            }
        }
        for (name, value) in query {
            let Some(schema) = properties.get(name) else { continue };
            let value = self.typed(schema, value);
            match given.get_mut(name) {
                Some(Value::Array(values)) => values.push(value),
                _ if self.names_type(schema, "array") => {
                    given.insert(name.clone(), json!([value]));
                }
                _ => {
                    given.insert(name.clone(), value);
                }
            }
        }
        given.into()
    }

    /// A parameter's text as the number or boolean that its schema wants, else as it came.
    fn typed(&self, schema: &Value, text: &str) -> Value {
        let schema = schema.get("items").unwrap_or(schema);
        if self.names_type(schema, "integer")
            && let Ok(number) = text.parse::<i64>()
        {
            return number.into();
        }
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" if self.names_type(schema, "boolean") => true.into(),
            "false" | "0" if self.names_type(schema, "boolean") => false.into(),
            _ => text.into(),
        }
    }

    fn names_type(&self, schema: &Value, name: &str) -> bool {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => self.schemas.pointer(&reference[1..]).unwrap_or(schema),
            None => schema,
        };
        schema["type"] == name
    }

    /// Turns a validator's error into Discord's complaints.
    fn explain(&self, error: &ValidationError, complaints: &mut Vec<Complaint>) {
        let mut path = fields(error.instance_path());
        let (code, message) = match error.kind() {
            Kind::OneOfNotValid { context }
            | Kind::OneOfMultipleValid { context }
            | Kind::AnyOf { context } => return self.explain_union(error, context, complaints),
            Kind::Required { property } => {
                path.push(property.as_str().unwrap_or_default().to_owned());
                required()
            }
            Kind::Type { .. } if error.instance().is_null() => required(),
            Kind::Type { kind } => wrong_type(wanted(kind), error.instance()),
            Kind::Enum { .. } if unknown(error) => {
                ("UNKNOWN_FIELD", "This field does not exist".to_owned())
            }
            Kind::Enum { options } => {
                let options: Vec<_> = options.as_array().into_iter().flatten().collect();
                ("BASE_TYPE_CHOICES", format!("Value must be one of {}.", tuple(&options)))
            }
            Kind::Constant { expected_value } => {
                let options = tuple(&[expected_value]);
                ("BASE_TYPE_CHOICES", format!("Value must be one of {options}."))
            }
            Kind::MaxLength { .. } | Kind::MaxItems { .. } | Kind::MaxProperties { .. } => {
                self.wrong_length(error, "BASE_TYPE_MAX_LENGTH")
            }
            Kind::MinLength { .. } | Kind::MinItems { .. } | Kind::MinProperties { .. } => {
                self.wrong_length(error, "BASE_TYPE_MIN_LENGTH")
            }
            Kind::Maximum { limit } => {
                ("NUMBER_TYPE_MAX", format!("int value should be less than or equal to {limit}."))
            }
            Kind::Minimum { limit } => (
                "NUMBER_TYPE_MIN",
                format!("int value should be greater than or equal to {limit}."),
            ),
            Kind::UniqueItems => (
                "SET_TYPE_ALREADY_CONTAINS_VALUE",
                "The set already contains this value".to_owned(),
            ),
            Kind::Pattern { pattern } if pattern == COMMAND_NAME => {
                ("APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid".to_owned())
            }
            Kind::Pattern { pattern } if pattern == DIGITS => {
                ("NUMBER_TYPE_COERCE", format!("Value {} is not int.", error.instance()))
            }
            Kind::Pattern { .. } => {
                ("NUMBER_TYPE_COERCE", format!("Value {} is not snowflake.", error.instance()))
            }
            Kind::Format { format } if format == "date-time" => (
                "DATE_TIME_TYPE_PARSE",
                format!("Could not parse {}. Should be ISO8601.", shown(error.instance())),
            ),
            Kind::Format { format } if format == "uri" => {
                ("URL_TYPE_INVALID_URL", "Not a well formed URL.".to_owned())
            }
            _ => ("BASE_TYPE_INVALID", error.to_string()),
        };
        complaints.push(Complaint { path, code, message });
    }

    /// Explains by the branch that was meant: the one whose `type` the value has.
    fn explain_union(
        &self,
        error: &ValidationError,
        branches: &[Vec<ValidationError<'static>>],
        complaints: &mut Vec<Complaint>,
    ) {
        let here = error.instance_path();
        let tells_apart = |field: &str| DISCRIMINATORS.contains(&field);
        let at_discriminator = |miss: &ValidationError| {
            DISCRIMINATORS.iter().any(|field| *miss.instance_path() == here.join(*field))
        };
        let meant = branches
            .iter()
            .filter(|branch| {
                !branch.iter().any(|miss| match miss.kind() {
                    Kind::Required { property } if miss.instance_path() == here => {
                        property.as_str().is_some_and(tells_apart)
                    }
                    Kind::Type { .. } | Kind::Constant { .. } if miss.instance_path() == here => {
                        true
                    }
                    _ => at_discriminator(miss),
                })
            })
            .min_by_key(|branch| {
                (branch.iter().filter(|miss| unknown(miss)).count(), branch.len())
            });
        if let Some(branch) = meant {
            for error in branch {
                self.explain(error, complaints);
            }
            return;
        }

        let expected: Vec<&Value> = branches
            .iter()
            .flatten()
            .filter_map(|miss| match miss.kind() {
                Kind::Constant { expected_value } if miss.instance_path() == here => {
                    Some(&**expected_value)
                }
                _ => None,
            })
            .collect();
        let mut discriminator = String::new();
        let types: Vec<&Value> = branches
            .iter()
            .flatten()
            .filter_map(|miss| match miss.kind() {
                Kind::Enum { options } if at_discriminator(miss) => {
                    discriminator = fields(miss.instance_path()).pop()?;
                    options.as_array()
                }
                _ => None,
            })
            .flatten()
            .collect();
        if !expected.is_empty() {
            complaints.push(Complaint {
                path: fields(here),
                code: "BASE_TYPE_CHOICES",
                message: format!("Value must be one of {}.", tuple(&expected)),
            });
        } else if !types.is_empty() {
            complaints.push(Complaint {
                path: fields(here),
                code: "UNION_TYPE_CHOICES",
                message: format!(
                    "Value of field \"{discriminator}\" must be one of {}.",
                    tuple(&types)
                ),
            });
        } else {
            // A value that may be absent is `oneOf` null and itself: the latter is of interest.
            let of_interest = branches.iter().find(|branch| {
                !branch.iter().any(|miss| {
                    matches!(miss.kind(), Kind::Type { kind } if wanted(kind) == JsonType::Null)
                })
            });
            // Without `type` every branch complains of that, among what only it requires.
            let complaint_of_type = |miss: &&ValidationError| {
                matches!(miss.kind(), Kind::Required { property }
                    if property.as_str().is_some_and(tells_apart) && miss.instance_path() == here)
            };
            let branch = of_interest.map(Vec::as_slice).unwrap_or_default();
            match branch.iter().find(complaint_of_type) {
                Some(miss) if branches.len() > 1 => self.explain(miss, complaints),
                _ => branch.iter().for_each(|miss| self.explain(miss, complaints)),
            }
        }
    }

    /// Discord names both ends of a length when there are two.
    fn wrong_length(&self, error: &ValidationError, code: &'static str) -> (&'static str, String) {
        let schema = error
            .absolute_keyword_location()
            .and_then(jsonschema::Uri::fragment)
            .and_then(|pointer| self.schemas.pointer(pointer.as_str().rsplit_once('/')?.0));
        let limit = |end: &str| {
            ["Length", "Items", "Properties"]
                .iter()
                .find_map(|of| schema?.get(format!("{end}{of}"))?.as_u64())
        };
        match (limit("min"), limit("max")) {
            (Some(min), Some(max)) => {
                ("BASE_TYPE_BAD_LENGTH", format!("Must be between {min} and {max} in length."))
            }
            (Some(min), None) => (code, format!("Must be {min} or more in length.")),
            (None, Some(max)) => (code, format!("Must be {max} or fewer in length.")),
            (None, None) => (code, error.to_string()),
        }
    }
}

impl Route {
    /// Whether commands are registered here: `…/commands` or `…/commands/{command_id}`.
    fn is_of_commands(&self) -> bool {
        let is_commands = |at: &Segment| *at == Segment::Literal("commands".to_owned());
        self.path.iter().rev().take(2).any(is_commands)
    }

    fn matches(&self, path: &[&str]) -> bool {
        self.path.len() == path.len()
            && self.path.iter().zip(path).all(|(segment, given)| match segment {
                Segment::Literal(literal) => literal == given,
                Segment::Parameter(_) => !given.is_empty(),
            })
    }
}

fn segments(path: &str) -> Vec<Segment> {
    path.trim_start_matches('/')
        .split('/')
        .map(|segment| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => Segment::Parameter(name.to_owned()),
            None => Segment::Literal(segment.to_owned()),
        })
        .collect()
}

/// An object schema of the parameters of the whole path and of one operation.
fn parameters(shared: &Value, own: &Value) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for parameter in [shared, own].into_iter().filter_map(Value::as_array).flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        properties.insert(name.to_owned(), parameter["schema"].clone());
        if parameter["required"] == true {
            required.push(name);
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// The schema of an operation's JSON body; a body where none belongs may only be an empty one.
fn body(operation: &mut Value) -> Value {
    let content = &mut operation["requestBody"]["content"];
    for kind in ["application/json", "multipart/form-data", "application/x-www-form-urlencoded"] {
        if content.get(kind).is_some() {
            return content[kind]["schema"].take();
        }
    }
    json!({"type": ["object", "array", "null"], "properties": {}, "maxItems": 0})
}

/// Where Discord itself differs from its description.
fn amend(schemas: &mut Value) {
    // 4000 characters are for people who pay; an application has 2000.
    // <https://discord.com/developers/docs/resources/message#create-message>
    for name in ["MessageCreateRequest", "MessageEditRequestPartial"] {
        schemas[name]["properties"]["content"]["maxLength"] = json!(2000);
    }
    // Permissions leave Discord as strings of digits, are accepted as such, and serenity sends
    // them so; the description knows only numbers.
    for schema in schemas.as_object_mut().into_iter().flat_map(Map::values_mut) {
        for name in ["default_member_permissions", "permissions", "allow", "deny"] {
            if let Some(permissions) = schema.pointer_mut(&format!("/properties/{name}"))
                && permissions["type"] == json!(["integer", "null"])
            {
                let digits = json!({"type": "string", "pattern": DIGITS});
                *permissions = json!({"oneOf": [permissions.take(), digits]});
            }
        }
    }
    // serenity writes the ids that a select menu begins with, and the places of attached files,
    // as numbers, which Discord takes for snowflakes.
    for name in [
        "ChannelSelectDefaultValue",
        "MessageAttachmentRequest",
        "RoleSelectDefaultValue",
        "UserSelectDefaultValue",
    ] {
        let id = &mut schemas[name]["properties"]["id"];
        *id = json!({"oneOf": [id.take(), {"type": "integer", "minimum": 0}]});
    }
    // The description leaves out that a command can be for adults only.
    // <https://discord.com/developers/docs/interactions/application-commands#agerestricted-commands>
    for name in ["CreateRequest", "UpdateRequest", "PatchRequestPartial"] {
        schemas[format!("ApplicationCommand{name}")]["properties"]["nsfw"] =
            json!({"type": ["boolean", "null"]});
    }
    // A slash command (type 1, the default) has a narrow name and needs a description.
    // <https://discord.com/developers/docs/interactions/application-commands>
    for name in ["ApplicationCommandCreateRequest", "ApplicationCommandUpdateRequest"] {
        let slash = json!({
            "properties": {
                "name": {"pattern": COMMAND_NAME},
                "description": {"type": "string", "minLength": 1, "maxLength": 100},
            },
            "required": ["description"],
        });
        let menu = json!({"properties": {"type": {"enum": [2, 3, 4]}}, "required": ["type"]});
        schemas[name]["allOf"] = json!([{"if": menu, "else": slash}]);
    }
    let options = schemas
        .as_object_mut()
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("ApplicationCommand") && name.ends_with("Option"));
    for (_, option) in options {
        option["properties"]["name"]["pattern"] = json!(COMMAND_NAME);
    }
}

/// The fields by which the branches of a union are told apart.
const DISCRIMINATORS: [&str; 3] = ["type", "trigger_type", "entity_type"];

/// Permissions in a string.
const DIGITS: &str = "^[0-9]{1,20}$";

/// Lower case where there is case.
const COMMAND_NAME: &str = r"^[-_'\p{Ll}\p{Lm}\p{Lo}\p{N}\p{sc=Deva}\p{sc=Thai}]+$";

/// Lets only [`NEUTRAL`] values stand in fields that an object's schema does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            if keywords.get("type").is_some_and(names_object) && keywords.contains_key("properties")
            {
                keywords.entry("additionalProperties").or_insert_with(|| json!({"enum": *NEUTRAL}));
            }
            keywords.values_mut().for_each(close);
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(close),
        _ => {}
    }
}

fn names_object(kind: &Value) -> bool {
    kind == "object" || kind.as_array().is_some_and(|kinds| kinds.contains(&json!("object")))
}

fn fields(path: &Location) -> Vec<String> {
    path.iter()
        .map(|segment| match segment {
            LocationSegment::Property(name) => name.into_owned(),
            LocationSegment::Index(index) => index.to_string(),
        })
        .collect()
}

/// Whether a field is not one of its object's.
fn unknown(error: &ValidationError) -> bool {
    matches!(error.kind(), Kind::Enum { options } if **options == *NEUTRAL)
}

/// The JSON type that a value should have had; null only when nothing else would do.
fn wanted(kind: &TypeKind) -> JsonType {
    match kind {
        TypeKind::Single(kind) => *kind,
        TypeKind::Multiple(kinds) => {
            kinds.iter().find(|kind| *kind != JsonType::Null).unwrap_or(JsonType::Null)
        }
    }
}

fn required() -> (&'static str, String) {
    ("BASE_TYPE_REQUIRED", "This field is required".to_owned())
}

fn wrong_type(wanted: JsonType, found: &Value) -> (&'static str, String) {
    match wanted {
        JsonType::Object => {
            ("MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType".to_owned())
        }
        JsonType::Array => {
            ("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType".to_owned())
        }
        JsonType::Boolean => ("BOOLEAN_TYPE_CONVERT", "Must be either true or false.".to_owned()),
        JsonType::Integer => ("NUMBER_TYPE_COERCE", format!("Value {found} is not int.")),
        JsonType::Number => ("NUMBER_TYPE_COERCE", format!("Value {found} is not float.")),
        JsonType::String => {
            ("STRING_TYPE_CONVERT", format!("Could not interpret {found} as string."))
        }
        JsonType::Null => ("BASE_TYPE_INVALID", "This field may not have a value".to_owned()),
    }
}

/// A list as Discord's Python prints it: `(1, 2)`, `('desktop',)`.
fn tuple(options: &[&Value]) -> String {
    let mut seen = HashSet::new();
    let shown: Vec<String> = options
        .iter()
        .map(|option| match option {
            Value::String(text) => format!("'{text}'"),
            other => other.to_string(),
        })
        .filter(|option| seen.insert(option.clone()))
        .collect();
    format!("({}{})", shown.join(", "), if shown.len() == 1 { "," } else { "" })
}

fn shown(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::Borrowed)
}

/// Nests each complaint's field names into the body of error 50035.
fn invalid_form(complaints: Vec<Complaint>) -> Value {
    let mut errors = json!({});
    for Complaint { path, code, message } in complaints {
        let mut place = &mut errors;
        for field in path {
            place = &mut place[field];
        }
        // One word on each field; what comes after a missing or mistyped value only follows from it.
        if place.get("_errors").is_none() {
            place["_errors"] = json!([{"code": code, "message": message}]);
        }
    }
    json!({"message": "Invalid Form Body", "code": 50035, "errors": errors})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_description_compiles() {
        let discord = Description::discord();
        let operations = discord.routes.iter().flat_map(|route| route.operations.values());
        assert!(
            operations.inspect(|operation| drop(discord.compile(operation.place))).count() > 200
        );
    }
}
