//! The folder, read whole and checked before anything is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    str::FromStr,
};

use percent_encoding::percent_decode_str;

use super::{
    tables::{self, LocalTable},
    upgrades::{self, UpgradeFile},
};
use crate::{
    cli::{resources, schema_files::referring::references},
    config::{ConfigError, ConfigErrors, Place, bounded_text, section::Faults, tree::Node},
    event::{AppVersion, EventType, PartnerName, PluginName, RouteName, TableName},
    limits::Limits,
    registry::model::{Partner, Route, SchemaKey, TypeEntry, Upgrade},
    validate::{Outline, References, Texts, check_schema},
};

/// The API takes no larger resource.
const RESOURCE_BYTES_MAX: u64 = 1 << 20;

/// What a folder says the registry should hold. A kind that it holds nothing of is absent: it is left alone.
#[derive(Debug, Default)]
pub struct Folder {
    pub partners: Option<BTreeMap<PartnerName, Partner>>,
    pub types: Option<BTreeMap<EventType, TypeEntry>>,
    pub schemas: Option<Vec<LocalSchema>>,
    /// Between `schemas`.
    pub references: References,
    /// Each by the key of its schema, which is among `schemas`.
    pub upgrades: Vec<LocalUpgrade>,
    pub tables: Option<BTreeMap<TableName, LocalTable>>,
    pub routes: Option<BTreeMap<RouteName, Route>>,
    pub plugins: BTreeMap<PluginName, PluginSource>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSchema {
    pub key: SchemaKey,
    pub text: String,
}

/// How events of the version before are brought to the schema of this key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalUpgrade {
    pub key: SchemaKey,
    pub upgrade: Upgrade,
}

/// Where a plugin's component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    Component(PathBuf),
    /// The folder of a plugin that is to be built.
    Source(PathBuf),
}

/// Reads `directory`.
///
/// # Errors
///
/// Every fault of every file at once.
pub fn read(directory: &Path) -> Result<Folder, ConfigErrors> {
    let mut reader = Reader::default();
    let (schemas, upgrades) = reader.schemas(&directory.join("schemas"));
    let of_schemas = schemas
        .iter()
        .flatten()
        .map(|schema| (&schema.key, schema.text.as_str()));
    let references = references(of_schemas);
    reader.check_referring(&references);
    let folder = Folder {
        partners: reader.resources(&directory.join("partners"), resources::partner),
        types: reader.resources(&directory.join("types"), resources::type_entry),
        upgrades: upgrades::checked(
            &mut reader,
            schemas.as_deref().unwrap_or_default(),
            &references,
            upgrades,
        ),
        schemas,
        references,
        tables: tables::read(&mut reader, &directory.join("tables")),
        routes: reader.resources(&directory.join("routes"), resources::route),
        plugins: reader.plugins(&directory.join("plugins")),
    };
    let is_empty = folder.partners.is_none()
        && folder.types.is_none()
        && folder.schemas.is_none()
        && folder.tables.is_none()
        && folder.routes.is_none()
        && folder.plugins.is_empty();
    if is_empty && reader.errors.is_empty() {
        reader.fault(directory, "", "holds nothing to apply")
            .suggest("it needs partners/NAME.toml, types/TYPE.toml, schemas/TYPE/SINCE.json, tables/NAME.ndjson, plugins/NAME/ or routes/NAME.toml");
    }
    if reader.errors.is_empty() {
        Ok(folder)
    } else {
        Err(ConfigErrors::new(reader.errors))
    }
}

#[derive(Default)]
pub(super) struct Reader {
    errors: Vec<ConfigError>,
    /// Schemas that refer to others: checked when all are read.
    referring: Vec<(SchemaKey, PathBuf, String)>,
}

/// The fault that was just noted.
pub(super) struct Noted<'r>(&'r mut ConfigError);

impl Noted<'_> {
    pub(super) fn suggest(self, suggestion: &str) {
        self.0.suggestion = Some(suggestion.to_owned());
    }
}

impl Reader {
    pub(super) fn fault(&mut self, path: &Path, key: &str, message: impl Into<String>) -> Noted<'_> {
        let place = Place::Whole(path.display().to_string().into());
        self.errors.push(ConfigError::new(place, key, message));
        let index = self.errors.len() - 1;
        Noted(&mut self.errors[index])
    }

    /// The entries of a folder in the order of their names; hidden ones and those whose name is no text are left out.
    pub(super) fn entries(&mut self, folder: &Path) -> Vec<(String, PathBuf)> {
        let list = || -> std::io::Result<Vec<(String, PathBuf)>> {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if let Ok(name) = entry.file_name().into_string()
                    && !name.starts_with('.')
                {
                    entries.push((name, entry.path()));
                }
            }
            entries.sort();
            Ok(entries)
        };
        match list() {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.fault(folder, "", format!("cannot be read: {error}"));
                Vec::new()
            }
        }
    }

    pub(super) fn text(&mut self, path: &Path, bytes_max: u64) -> Option<String> {
        bounded_text(path, bytes_max)
            .map_err(|error| {
                self.fault(path, "", format!("cannot be read: {error}"));
            })
            .ok()
    }

    fn name<N: FromStr>(&mut self, path: &Path, name: &str) -> Option<N>
    where
        N::Err: std::fmt::Display,
    {
        name.parse()
            .map_err(|error: N::Err| {
                self.fault(path, "", error.to_string()).suggest("rename it");
            })
            .ok()
    }

    /// `NAME.toml` files of a folder.
    fn resources<N, T>(
        &mut self,
        folder: &Path,
        resource: fn(&Node, &mut Faults) -> T,
    ) -> Option<BTreeMap<N, T>>
    where
        N: FromStr + Ord,
        N::Err: std::fmt::Display,
    {
        let mut found = BTreeMap::new();
        for (file, path) in self.entries(folder) {
            let Some(stem) = file.strip_suffix(".toml").filter(|_| path.is_file()) else {
                continue;
            };
            let name = self.name::<N>(&path, stem);
            let Some(text) = self.text(&path, RESOURCE_BYTES_MAX) else {
                continue;
            };
            match resources::parse(&path.display().to_string(), &text, resource) {
                Ok(value) => {
                    found.extend(name.map(|name| (name, value)));
                }
                Err(errors) => self.errors.extend(errors.into_vec()),
            }
        }
        (!found.is_empty()).then_some(found)
    }

    /// `TYPE/SINCE.json` and `TYPE/SINCE@SOURCE.json` files, both parts percent-encoded where they must be; and the
    /// `….upgrade.json` files beside them.
    fn schemas(&mut self, folder: &Path) -> (Option<Vec<LocalSchema>>, Vec<UpgradeFile>) {
        let mut found: Vec<LocalSchema> = Vec::new();
        let mut upgrades = Vec::new();
        for (type_name, type_folder) in self.entries(folder) {
            if !type_folder.is_dir() {
                continue;
            }
            for (file, path) in self.entries(&type_folder) {
                let Some(stem) = file.strip_suffix(".json").filter(|_| path.is_file()) else {
                    continue;
                };
                let event_type = self.name::<EventType>(&type_folder, &type_name);
                if let Some(stem) = stem.strip_suffix(".upgrade") {
                    let key = self.schema_key(&path, event_type, stem);
                    upgrades.extend(key.map(|key| UpgradeFile { key, path }));
                    continue;
                }
                let key = self.schema_key(&path, event_type, stem);
                let text = self.schema_text(&path, key.as_ref());
                let (Some(key), Some(text)) = (key, text) else {
                    continue;
                };
                let schema = LocalSchema { key, text };
                // The folder's own type comes last.
                let of_type = found
                    .iter()
                    .rev()
                    .take_while(|other| other.key.event_type == schema.key.event_type);
                match of_type
                    .into_iter()
                    .find(|other| same_schema(&other.key, &schema.key))
                {
                    Some(other) => {
                        let message = format!("is for the same version as {}.json", other.key.since);
                        self.fault(&path, "", message).suggest("keep one of them");
                    }
                    None => found.push(schema),
                }
            }
        }
        // Each is then compared with the version before it, as it would have been if they had come one by one.
        found.sort_by_cached_key(|schema| {
            let key = &schema.key;
            (
                key.event_type.clone(),
                key.source.clone(),
                AppVersion::parse(&key.since),
            )
        });
        ((!found.is_empty()).then_some(found), upgrades)
    }

    fn schema_key(&mut self, path: &Path, event_type: Option<EventType>, stem: &str) -> Option<SchemaKey> {
        let (since, source) = match stem.split_once('@') {
            Some((since, source)) => (since, Some(source)),
            None => (stem, None),
        };
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(String::from);
        let since = decoded(since).filter(|since| AppVersion::parse(since).is_some());
        let source = source.map(|source| decoded(source).filter(|source| !source.is_empty()));
        if since.is_none() || source == Some(None) {
            self.fault(path, "", "its name is no app version").suggest(
                "name it SINCE.json, such as 5.10.0.json, or SINCE@SOURCE.json with SOURCE percent-encoded",
            );
        }
        Some(SchemaKey {
            event_type: event_type?,
            source: match source {
                None => None,
                Some(source) => Some(source?),
            },
            since: since?,
        })
    }

    fn schema_text(&mut self, path: &Path, key: Option<&SchemaKey>) -> Option<String> {
        let bytes_max = Limits::default().schema_bytes;
        let text = self.text(path, bytes_max.0)?;
        if !Outline::of(&text).refers.is_empty() {
            self.referring
                .extend(key.map(|key| (key.clone(), path.to_owned(), text.clone())));
            return Some(text);
        }
        self.check_schema(path, &text, &Texts::default()).then_some(text)
    }

    fn check_schema(&mut self, path: &Path, text: &str, texts: &Texts) -> bool {
        let bytes_max = Limits::default().schema_bytes;
        let faults = check_schema(text, texts, bytes_max.as_usize())
            .err()
            .unwrap_or_default();
        let is_good = faults.is_empty();
        for fault in faults {
            self.fault(path, &fault.pointer, fault.message);
        }
        is_good
    }

    /// Where a reference leads to nothing in the folder, the gateway says whether it leads to what it has.
    fn check_referring(&mut self, references: &References) {
        for (key, path, text) in std::mem::take(&mut self.referring) {
            if let Ok(texts) = references.texts(&key) {
                self.check_schema(&path, &text, &texts);
            }
        }
    }

    /// Folders that hold a component, or the source of one.
    fn plugins(&mut self, folder: &Path) -> BTreeMap<PluginName, PluginSource> {
        let mut found = BTreeMap::new();
        for (name, path) in self.entries(folder) {
            // Cargo's output folder holds components, and is no plugin.
            if !path.is_dir() || path.join("CACHEDIR.TAG").is_file() {
                continue;
            }
            let mut components: Vec<PathBuf> = self
                .entries(&path)
                .into_iter()
                .filter(|(file, path)| file.ends_with(".wasm") && path.is_file())
                .map(|(_, path)| path)
                .collect();
            let source = match (components.len(), path.join("Cargo.toml").is_file()) {
                (0, false) => continue,
                (0, true) => PluginSource::Source(path.clone()),
                (1, _) => PluginSource::Component(components.remove(0)),
                (_, _) => {
                    self.fault(&path, "", "holds more than one .wasm file")
                        .suggest("leave one: the component that is to run");
                    continue;
                }
            };
            if let Some(name) = self.name::<PluginName>(&path, &name) {
                found.insert(name, source);
            }
        }
        found
    }
}

/// Whether two keys are one: `5.2` is `5.2.0`.
pub fn same_schema(one: &SchemaKey, two: &SchemaKey) -> bool {
    one.event_type == two.event_type
        && one.source == two.source
        && (one.since == two.since || AppVersion::parse(&one.since) == AppVersion::parse(&two.since))
}

/// Faults between the files and with the plugins that the registry already has.
pub fn check_plugins_of_routes(
    directory: &Path,
    folder: &Folder,
    registered: &BTreeSet<PluginName>,
) -> Result<(), ConfigErrors> {
    let mut reader = Reader::default();
    for (name, route) in folder.routes.iter().flatten() {
        let Some(plugin) = &route.plugin else {
            continue;
        };
        if !folder.plugins.contains_key(plugin) && !registered.contains(plugin) {
            let path = directory.join("routes").join(format!("{name}.toml"));
            let known = folder.plugins.keys().chain(registered).map(PluginName::as_str);
            let message = format!("there is no plugin {plugin}, neither in plugins/ nor in the registry");
            let near = crate::config::section::closest(plugin.as_str(), known);
            let noted = reader.fault(&path, "plugin", message);
            if let Some(near) = near {
                noted.suggest(&format!("did you mean \"{near}\"?"));
            }
        }
    }
    if reader.errors.is_empty() {
        Ok(())
    } else {
        Err(ConfigErrors::new(reader.errors))
    }
}
