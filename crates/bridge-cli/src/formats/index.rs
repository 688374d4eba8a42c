//! Indexes of sharded checkpoints, as `model.safetensors.index.json`: which array is in which file beside it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::array_file::{ArrayFile, Origin};
use super::listing::{Notes, Refusal, RefusalKind};
use super::mapped_file::MappedFile;
use super::other_kinds;
use crate::failure::{Failure, Outcome};

/// The most bytes of an index that are read: an array takes about a hundred.
const LARGEST: usize = 64 << 20;

/// How many names an error lists.
const LISTED: usize = 20;

/// What the file's name ends with.
const SUFFIX: &str = ".json";

const WEIGHT_MAP: &str = "weight_map";

/// Whether the file is such an index: an object of JSON that has the map, or should have one by its name.
pub(super) fn is_index(path: &Path, bytes: &[u8]) -> bool {
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let is_named = path.to_string_lossy().to_ascii_lowercase().ends_with(SUFFIX);
    start.first() == Some(&b'{')
        && (is_named || start.windows(WEIGHT_MAP.len()).any(|it| it == WEIGHT_MAP.as_bytes()))
        && bytes.first_chunk::<8>().is_none_or(|length| {
            // A header of safetensors has its length first, whose low byte can be a brace.
            u64::from_le_bytes(*length) > bytes.len() as u64
        })
}

/// What an index says.
#[derive(Debug, Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// The file of each array.
#[derive(Debug)]
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a file for each array")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut entries = Vec::new();
                let mut names = HashSet::new();
                while let Some((name, file)) = map.next_entry::<String, String>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("it has \"{name}\" twice")));
                    }
                    entries.push((name, file));
                }
                Ok(WeightMap(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Opens every file that the index names, and reads them as one.
pub(super) fn open(path: &Path, bytes: &[u8]) -> Outcome<ArrayFile> {
    if bytes.len() > LARGEST {
        return Err(Failure::new(format!("the index has {} bytes", bytes.len()))
            .why(format!("an index that only names arrays and files has at most {LARGEST}")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let WeightMap(entries) = serde_json::from_slice::<Index>(bytes)
        .map_err(|error| {
            Failure::new("the JSON file is no index of a sharded checkpoint")
                .why(format!(
                    "it should be as in {{\"weight_map\": {{\"NAME\": \"FILE\"}}}}: {error}"
                ))
                .remedy("name the index, as in model.safetensors.index.json, or an array file")
        })?
        .weight_map;
    let mut shards: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
    for (name, shard) in &entries {
        shards.entry(shard).or_default().insert(name);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    for shard in shards.keys() {
        check_beside(shard)?;
    }
    check_there(folder, &shards)?;
    let mut whole = ArrayFile::of_several();
    let mut notes = Vec::new();
    for (shard, names) in &shards {
        let shard_path = folder.join(shard);
        let within = |failure: Failure| failure.within(&format!("the shard {shard}"));
        let read = || {
            let file = MappedFile::open(&shard_path)?;
            other_kinds::refuse(file.bytes())?;
            ArrayFile::of_one(&Origin::File(&shard_path), file, None)
        };
        let mut one = read().map_err(within)?;
        keep_named(&mut one, names).map_err(within)?;
        notes.push(one.notes.take());
        whole.add(one);
    }
    (whole.notes, whole.remarks) = in_common(notes, std::mem::take(&mut whole.remarks));
    in_order_of_index(&mut whole, &entries);
    Ok(whole)
}

/// What all shards say of themselves is so of the whole; what else there is is told.
fn in_common(shards: Vec<Option<Notes>>, mut remarks: Vec<String>) -> (Option<Notes>, Vec<String>) {
    let shards: Vec<Notes> = shards.into_iter().map(Option::unwrap_or_default).collect();
    let mut common = shards.first().cloned().unwrap_or_default();
    common.retain(|key, value| shards.iter().all(|one| one.get(key) == Some(value)));
    let mut others: Vec<&str> = shards
        .iter()
        .flat_map(Notes::keys)
        .filter(|key| !common.contains_key(*key))
        .map(String::as_str)
        .collect();
    others.sort_unstable();
    others.dedup();
    if !others.is_empty() {
        remarks
            .push(format!("metadata that not all shards share, passed over: {}", listed(&others)));
    }
    ((!common.is_empty()).then_some(common), remarks)
}

/// Fails for a shard that is not in the index's own folder or below it.
fn check_beside(shard: &str) -> Outcome<()> {
    let mut parts = Path::new(shard).components();
    let stays = parts.all(|part| matches!(part, Component::Normal(_)));
    let drive = shard.as_bytes().get(1) == Some(&b':');
    if stays && !shard.is_empty() && !drive && !shard.contains(['\\', '\0']) {
        return Ok(());
    }
    Err(Failure::new(format!("the index names the file \"{shard}\""))
        .why("its name leads outside the folder that the index is in")
        .remedy("put the shards beside the index, and name them without a folder in it"))
}

/// Fails where shards are missing, and names them.
fn check_there(folder: &Path, shards: &BTreeMap<&str, HashSet<&str>>) -> Outcome<()> {
    let is_missing = |shard: &&&str| !folder.join(shard).exists();
    let missing: Vec<&str> = shards.keys().filter(is_missing).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let found =
        format!("{} of {} shards are missing: {}", missing.len(), shards.len(), listed(&missing));
    Err(Failure::new(found)
        .why("the index says that arrays are in them")
        .remedy("put them beside the index"))
}

/// Keeps the arrays that the index says are in this shard, and fails where one is not.
fn keep_named(shard: &mut ArrayFile, names: &HashSet<&str>) -> Outcome<()> {
    let is_named = |name: &str| names.contains(name);
    let there: HashSet<&str> = shard
        .arrays
        .iter()
        .map(|array| array.name.as_str())
        .chain(shard.refusals.iter().map(|refusal| refusal.name.as_str()))
        .collect();
    let mut missing: Vec<&str> =
        names.iter().filter(|name| !there.contains(*name)).copied().collect();
    if !missing.is_empty() {
        missing.sort_unstable();
        return Err(Failure::new(format!("it has no array {}", listed(&missing)))
            .why("the index says that it has")
            .remedy("fetch the index and its shards again: they do not belong together"));
    }
    let beside = shard.arrays.iter().filter(|array| !is_named(&array.name)).map(|array| {
        Refusal::beside(array.name.clone(), Failure::new("an array that the index does not name"))
    });
    let beside: Vec<Refusal> = beside.collect();
    for refusal in &mut shard.refusals {
        if refusal.kind == RefusalKind::Unsupported && !is_named(&refusal.name) {
            refusal.kind = RefusalKind::Beside;
        }
    }
    shard.refusals.extend(beside);
    shard.arrays.retain(|array| is_named(&array.name));
    Ok(())
}

/// The arrays as the index has them: shards come in the order of their names else.
fn in_order_of_index(whole: &mut ArrayFile, entries: &[(String, String)]) {
    let places = entries.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place));
    let places: HashMap<&str, usize> = places.collect();
    whole.arrays.sort_by_key(|array| places.get(array.name.as_str()).copied());
}

fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| format!("\"{name}\"")).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
